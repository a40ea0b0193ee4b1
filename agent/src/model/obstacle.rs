//! Why frames go through OVS and not past it: one list, with a stable word and a phrase for each.

use std::fmt;

macro_rules! obstacles {
    ($($(#[$attr:meta])* $name:ident => $code:literal, $text:literal;)+) => {
        /// Something that acceleration would change the meaning of, or that forbids it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Obstacle { $($(#[$attr])* $name,)+ }

        impl Obstacle {
            /// A stable word, for programs.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// A phrase, for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

obstacles! {
    /// `accel.enabled` of the configuration.
    Disabled => "disabled", "switched off in the agent's configuration";
    /// `accelerate` of the CNI configuration.
    OptOut => "opt_out", "switched off for this attachment";
    GuardMode => "guard_mode", "the guard is not in mode full";
    NotAccess => "not_access", "not an access port";
    ForeignFlow => "foreign_flow", "table 0 holds foreign flows that may match frames of the port";
    ForeignProgram => "foreign_program", "a foreign program hangs on the host veth";
    Qdisc => "qdisc", "the host veth has a queueing discipline";
    NoBridge => "no_bridge", "the bridge does not exist";
    UserspaceDatapath => "userspace_datapath", "the bridge runs on the userspace datapath";
    FloodVlans => "flood_vlans", "the bridge has flood_vlans";
    Mirror => "mirror", "the bridge has a mirror";
    SFlow => "sflow", "the bridge exports sFlow";
    Ipfix => "ipfix", "the bridge exports IPFIX";
    NetFlow => "netflow", "the bridge exports NetFlow";
    Sampling => "sampling", "a Flow_Sample_Collector_Set samples the bridge";
    Stp => "stp", "the bridge runs STP";
    Rstp => "rstp", "the bridge runs RSTP";
    HwOffload => "hw_offload", "hardware offload is on (Open_vSwitch other_config:hw-offload)";
    Protected => "protected", "the port is protected";
    Qos => "qos", "the port has a QoS record";
    Policing => "policing", "the port is policed";
    Trunk => "trunk", "the port is a trunk";
    Bond => "bond", "the port is a bond";
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
