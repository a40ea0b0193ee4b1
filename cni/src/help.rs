//! What a person is told who runs the plugin by hand. A runtime sets `CNI_COMMAND` and passes no arguments.

use std::env;

use crate::version;

/// The answer to `--help` or `--version` without `CNI_COMMAND`.
pub(crate) fn asked() -> Option<String> {
    if env::var_os("CNI_COMMAND").is_some() {
        return None;
    }
    let word = env::args_os().nth(1)?;
    match word.to_str()? {
        "--help" | "-h" | "help" => Some(help()),
        "--version" | "-V" => Some(format!("underpass-cni {}\n", env!("CARGO_PKG_VERSION"))),
        _ => None,
    }
}

fn help() -> String {
    format!(
        "underpass-cni {}: the CNI plugin of Underpass, for CNI {}\n\n\
         Container runtimes and Multus run it, under the name `underpass` or `ovs`. It takes no arguments: the\n\
         variables CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS, VERSION), CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME,\n\
         CNI_ARGS and CNI_PATH say what to do, a network configuration comes on standard input, and the result\n\
         goes to standard output. It hands each call to underpass-agent on {} (UNDERPASS_SOCKET\n\
         names another socket); while the agent is away, DEL and GC are kept in the spool beside that socket.\n",
        env!("CARGO_PKG_VERSION"),
        version::SUPPORTED.join(", "),
        agent_api::DEFAULT_SOCKET,
    )
}
