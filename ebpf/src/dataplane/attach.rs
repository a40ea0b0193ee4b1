//! Hanging the programs on devices: TCX links where the kernel has them, else clsact filters.
//!
//! Both are idempotent and leave no gap: a program in a pinned link is swapped, a filter at our fixed
//! priority and handle is replaced in place. Devices are looked up in the caller's netns, which is the
//! host's.
//!
//! A clsact qdisc that was made here stays when our filter goes: removing one stops the queues of a device that is up for
//! some milliseconds (`qdisc_graft`, Linux 6.18). [`Hooks::vacate`] does it where somebody needs the place.

use std::{
    fs, io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, Link as _, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    },
};
use nix::{libc, net::if_::if_indextoname};

use super::{program_mut, program_name};
use crate::{
    Error, Role,
    error::Errno,
    filters, links,
    pins::{Found, Pins, pin_error, remove},
};

/// Handle of our clsact filters. The number is ours by its look ("UP"), so a replace never hits another's.
const HANDLE: TcHandle = TcHandle::new(0x5550, 1);
/// Priority of our filter on ingress: the first.
const PRIORITY_FIRST: u16 = 1;
/// Priority on egress: behind those that the kernel hands out from 0xc000 downwards, and most others.
const PRIORITY_LAST: u16 = 0xfff0;

/// How a program hangs on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachKind {
    /// A pinned TCX link (kernel 6.6 and later).
    Tcx,
    /// A filter of the clsact qdisc.
    Clsact,
}

/// What attaching found on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// How our programs hang there.
    pub kind: AttachKind,
    /// A foreign program sees frames from the device before ours does: a condition.
    pub foreign_before: bool,
    /// Any foreign program or filter is on our hooks: no acceleration there.
    pub foreign_any: bool,
}

/// A program of ours on a device, as the pins tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The device, which may be gone.
    pub ifindex: u32,
    /// Which program.
    pub role: Role,
}

/// The programs, and where they hang.
///
/// Apart from the maps, because a TCX attachment waits for an RCU grace period, some milliseconds, under the
/// kernel's RTNL lock: whoever hangs programs must not hold up who writes entries. One call at a time; the
/// kernel would take them one by one anyway.
pub struct Hooks {
    pub(super) pins: Pins,
    object: Mutex<Ebpf>,
    /// Kernel ids of the loaded programs, in the order of [`Role::ALL`].
    program_ids: [u32; 3],
}

impl Hooks {
    pub(super) fn new(pins: Pins, object: Ebpf, program_ids: [u32; 3]) -> Self {
        Self { pins, object: Mutex::new(object), program_ids }
    }

    /// Attaches the guard and the watch to a host veth, by TCX where the kernel has it and `kind` asks for it.
    ///
    /// What hung there by the other kind is taken off once the new one is in place: no frame goes unseen, and one in
    /// between may be judged twice.
    pub fn attach_pod(&self, ifindex: u32, ifname: &str, kind: AttachKind) -> Result<Attached, Error> {
        // The watch first: once the guard hangs there, everything else does.
        let watch = self.attach(Role::ToPod, ifindex, ifname, kind)?;
        let guard = self.attach(Role::FromPod, ifindex, ifname, kind)?;
        Ok(Attached { foreign_any: guard.foreign_any || watch.foreign_any, ..guard })
    }

    /// Attaches the watch to a physical member of a bridge.
    pub fn attach_uplink(&self, ifindex: u32, ifname: &str, kind: AttachKind) -> Result<Attached, Error> {
        self.attach(Role::Uplink, ifindex, ifname, kind)
    }

    /// Takes every program of ours off a device, or removes its pins if the device is gone.
    pub fn detach(&self, ifindex: u32) -> Result<(), Error> {
        let here = self.pins.found()?.into_iter().filter(|f| f.ifindex == ifindex);
        for Found { role, clsact, .. } in here {
            if clsact {
                self.detach_clsact(role, ifindex)?;
            } else {
                self.detach_tcx(role, ifindex)?;
            }
        }
        Ok(())
    }

    /// Removes the clsact qdisc of a device if nothing is left in it: while it is there, Open vSwitch cannot police the
    /// device. Frames on their way to the device are lost for some milliseconds.
    pub fn vacate(&self, ifindex: u32) -> Result<(), Error> {
        filters::remove_empty_qdisc(ifindex)
    }

    /// What is attached according to the pins: for collecting what an earlier agent left.
    pub fn attachments(&self) -> Result<Vec<Attachment>, Error> {
        let mut all: Vec<Attachment> =
            self.pins.found()?.into_iter().map(|f| Attachment { ifindex: f.ifindex, role: f.role }).collect();
        all.dedup();
        Ok(all)
    }

    /// Looks at a device without touching it. `None`: our present program is not on that hook.
    pub fn inspect(&self, role: Role, ifindex: u32, ifname: &str) -> Result<Option<Attached>, Error> {
        check_device(ifindex, ifname)?;
        let id = self.program_ids[role as usize];
        let programs = tcx_programs(role, ifindex, ifname)?;
        let filters = filters::dump(ifindex, on_ingress(role))?;
        let in_tcx = programs.iter().position(|p| *p == id);
        let in_filters = filters.iter().position(|f| f.program == Some(id));
        let (kind, before) = match (in_tcx, in_filters) {
            (Some(at), _) => (AttachKind::Tcx, at),
            (None, Some(at)) => (AttachKind::Clsact, programs.len() + at),
            (None, None) => return Ok(None),
        };
        Ok(Some(Attached {
            kind,
            foreign_before: on_ingress(role) && before > 0,
            foreign_any: programs.len() + filters.len() > 1,
        }))
    }

    /// Whether the kernel has TCX (6.6 and later).
    pub fn has_tcx(&self) -> bool {
        !SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_err_and(|e| lacks_tcx(&e))
    }

    /// Whether programs of ours hang in TCX links there, be they of this agent or of an earlier one: swapping the
    /// program in a link takes some microseconds.
    pub fn is_linked(&self, ifindex: u32) -> bool {
        [Role::FromPod, Role::ToPod].into_iter().all(|role| self.pins.link(ifindex, role).exists())
    }

    pub(super) fn object(&self) -> MutexGuard<'_, Ebpf> {
        // A panic in the middle of an attachment leaves the object as it was: links live in the kernel.
        self.object.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attach(&self, role: Role, ifindex: u32, ifname: &str, kind: AttachKind) -> Result<Attached, Error> {
        check_device(ifindex, ifname)?;
        if kind == AttachKind::Tcx && self.attach_tcx(role, ifindex, ifname)? {
            if self.pins.clsact_mark(ifindex, role).exists() {
                self.detach_clsact(role, ifindex)?;
            }
        } else {
            self.attach_clsact(role, ifindex, ifname)?;
            self.detach_tcx(role, ifindex)?;
        }
        self.inspect(role, ifindex, ifname)?.ok_or_else(|| {
            let gone = io::Error::new(io::ErrorKind::NotFound, "it was removed again by someone else");
            attach_error(role, ifindex, ifname, gone)
        })
    }

    /// Swaps the program in the pinned link, or makes the link. `false`: this kernel has no TCX.
    fn attach_tcx(&self, role: Role, ifindex: u32, ifname: &str) -> Result<bool, Error> {
        let path = self.pins.link(ifindex, role);
        if path.exists() && self.swap(role, ifindex, ifname)? {
            return Ok(true);
        }
        let mut object = self.object();
        let program = program_mut(&mut object, role)?;
        let order = if on_ingress(role) { LinkOrder::first() } else { LinkOrder::last() };
        let id = match program.attach_with_options(ifname, hook(role), TcAttachOptions::TcxOrder(order)) {
            Ok(id) => id,
            Err(e) if lacks_tcx(&e) => return Ok(false),
            Err(e) => return Err(attach_error(role, ifindex, ifname, e)),
        };
        let link = program.take_link(id).map_err(|e| attach_error(role, ifindex, ifname, e))?;
        let link = FdLink::try_from(link).map_err(|e| Error::link("opening", role, ifindex, e))?;
        link.pin(&path).map_err(|e| Error::link("pinning", role, ifindex, e))?;
        Ok(true)
    }

    /// Puts the present program into the pinned link. `false`: the link had lost its device and is gone.
    fn swap(&self, role: Role, ifindex: u32, ifname: &str) -> Result<bool, Error> {
        let path = self.pins.link(ifindex, role);
        let pinned = PinnedLink::from_pin(&path).map_err(|e| Error::link("opening", role, ifindex, e))?;
        let link = SchedClassifierLink::try_from(FdLink::from(pinned))
            .map_err(|e| Error::link("opening", role, ifindex, e))?;
        let mut object = self.object();
        let program = program_mut(&mut object, role)?;
        match program.attach_to_link(link) {
            Ok(id) => {
                // Dropping the link closes a descriptor; the pin keeps the link itself.
                drop(program.take_link(id).map_err(|e| attach_error(role, ifindex, ifname, e))?);
                Ok(true)
            }
            Err(e) if e.errno() == Some(libc::ENOLINK) => {
                remove(&path, |p| fs::remove_file(p))?;
                Ok(false)
            }
            Err(e) => Err(attach_error(role, ifindex, ifname, e)),
        }
    }

    fn attach_clsact(&self, role: Role, ifindex: u32, ifname: &str) -> Result<(), Error> {
        let fail = |e: ProgramError| attach_error(role, ifindex, ifname, e);
        match tc::qdisc_add_clsact(ifname) {
            Err(e) if e.errno() != Some(libc::EEXIST) => return Err(attach_error(role, ifindex, ifname, e)),
            _ => {}
        }
        // The mark before the filter: a crash between leaves a mark too many, which is harmless.
        let mark = self.pins.clsact_mark(ifindex, role);
        match fs::create_dir(&mark) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(pin_error("creating", &mark, e));
            }
            _ => {}
        }
        let options = NlOptions { priority: priority(role), handle: HANDLE, classid: None };
        let mut object = self.object();
        let program = program_mut(&mut object, role)?;
        let id = match program.attach_with_options(ifname, hook(role), TcAttachOptions::Netlink(options)) {
            Ok(id) => id,
            Err(e) if e.errno() == Some(libc::EEXIST) => {
                let old = our_filter(role, ifname).map_err(|e| attach_error(role, ifindex, ifname, e))?;
                program.attach_to_link(old).map_err(fail)?
            }
            Err(e) => return Err(fail(e)),
        };
        // Dropping it would detach: the filter lives with the device.
        std::mem::forget(program.take_link(id).map_err(fail)?);
        Ok(())
    }

    fn detach_tcx(&self, role: Role, ifindex: u32) -> Result<(), Error> {
        let path = self.pins.link(ifindex, role);
        match links::detach(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::link("detaching", role, ifindex, e)),
            _ => remove(&path, |p| fs::remove_file(p)),
        }
    }

    fn detach_clsact(&self, role: Role, ifindex: u32) -> Result<(), Error> {
        if let Some(name) = present_name(ifindex) {
            let filter = our_filter(role, &name).map_err(|e| Error::link("opening", role, ifindex, e))?;
            match filter.detach() {
                Err(e) if !is_gone(&e) => return Err(Error::link("removing", role, ifindex, e)),
                _ => {}
            }
        }
        remove(&self.pins.clsact_mark(ifindex, role), |p| fs::remove_dir(p))
    }
}

const fn on_ingress(role: Role) -> bool {
    !matches!(role, Role::ToPod)
}

const fn hook(role: Role) -> TcAttachType {
    if on_ingress(role) { TcAttachType::Ingress } else { TcAttachType::Egress }
}

const fn priority(role: Role) -> u16 {
    if on_ingress(role) { PRIORITY_FIRST } else { PRIORITY_LAST }
}

fn our_filter(role: Role, ifname: &str) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(ifname, hook(role), priority(role), HANDLE, None)
}

/// aya finds devices by name; a name that was given to another device meanwhile must not lead us there.
fn check_device(ifindex: u32, ifname: &str) -> Result<(), Error> {
    let found = present_name(ifindex);
    if found.as_deref() == Some(ifname) {
        Ok(())
    } else {
        Err(Error::Device { ifname: ifname.to_owned(), ifindex, found })
    }
}

/// The name that a device has now; `None`: it is gone.
///
/// Never asked the other way round: for a name that no device has, the kernel calls modprobe and waits for it
/// (net/core/dev_ioctl.c, `dev_load`).
fn present_name(ifindex: u32) -> Option<String> {
    // nix 0.31 answers an empty name instead of the error.
    if_indextoname(ifindex).ok()?.into_string().ok().filter(|name| !name.is_empty())
}

/// Ids of the TCX programs on the hook, in order; none where the kernel has no TCX.
fn tcx_programs(role: Role, ifindex: u32, ifname: &str) -> Result<Vec<u32>, Error> {
    match SchedClassifier::query_tcx(ifname, hook(role)) {
        Ok((_revision, programs)) => Ok(programs.iter().map(aya::programs::ProgramInfo::id).collect()),
        Err(e) if lacks_tcx(&e) => Ok(Vec::new()),
        Err(e) => Err(Error::link("listing beside", role, ifindex, e)),
    }
}

/// Kernels before 6.6 know neither the attach type (EINVAL) nor, some, the length of the request (E2BIG).
fn lacks_tcx(e: &ProgramError) -> bool {
    matches!(e.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::E2BIG | libc::ENOSYS))
}

/// The filter, its priority or the whole qdisc is not there.
fn is_gone(e: &ProgramError) -> bool {
    matches!(e.errno(), Some(libc::ENOENT | libc::ENODEV | libc::EINVAL))
}

fn attach_error(
    role: Role,
    ifindex: u32,
    ifname: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Attach { program: program_name(role), ifname: ifname.to_owned(), ifindex, source: source.into() }
}
