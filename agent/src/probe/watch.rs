//! The book of conflicts: who claimed a local pod's address, for the pod's whole life.
//!
//! Owns: one page per (endpoint, address, foreign MAC), each with its first and last sighting. A conflict is *active*
//! until its MAC has been silent for [`QUIET`]; the page stays for [`KEEP`] so that an operator finds it afterwards.
//!
//! Rules:
//! - A foreign *claim* is a conflict. A foreign *probe* is not: a host that asks first learns from the pod's answer
//!   that the address is taken, and leaves it (RFC 5227, section 2.4). At ADD that is different, see `conflict`.
//! - The pod's own MAC elsewhere is a clone, hence a conflict; where the endpoint is a virtual machine it is a live
//!   migration, unless it goes on for longer than [`MIGRATION`].
//! - Whoever changes MAC with every frame fills neither memory nor the log: pages and news are bounded for each
//!   address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Said, Sighting};
use crate::model::{ConflictView, EndpointId, Mac};

/// The rightful holder of an address.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    pub endpoint: &'a EndpointId,
    pub mac: Mac,
    /// The endpoint may be live migrated.
    pub vm: bool,
}

/// What is worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Began {
    pub endpoint: EndpointId,
    pub address: IpAddr,
    pub mac: Mac,
    pub at: Duration,
}

/// All conflicts of this node.
#[derive(Clone, Debug, Default)]
pub struct ConflictBook {
    pages: BTreeMap<Subject, BTreeMap<Mac, Page>>,
    /// When news were last told about an address.
    told: BTreeMap<Subject, Duration>,
}

/// An address of an endpoint.
type Subject = (EndpointId, IpAddr);

#[derive(Clone, Debug)]
struct Page {
    ifindex: u32,
    first_seen: Duration,
    last_seen: Duration,
    count: u64,
    at_add: bool,
    state: PageState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageState {
    /// The pod's own MAC elsewhere, for no longer than a migration takes.
    Tolerated,
    Active,
    Silent,
}

impl ConflictBook {
    /// Notes what a frame said after the pod was up. Returns news if a conflict began, or began again.
    pub fn note(&mut self, holder: Holder<'_>, sighting: &Sighting) -> Option<Began> {
        match sighting.said {
            Said::Claims => self.enter(holder, sighting, false),
            Said::Probes => None,
        }
    }

    /// Notes what failed an ADD, or would have with another policy: there a probe counts as well.
    pub fn note_at_add(&mut self, holder: Holder<'_>, sighting: &Sighting) -> Option<Began> {
        self.enter(holder, sighting, true)
    }

    /// Lets time pass: silent conflicts end, old pages go. Returns whether anything changed.
    pub fn expire(&mut self, now: Duration) -> bool {
        let mut changed = false;
        for macs in self.pages.values_mut() {
            for page in macs.values_mut() {
                if page.state == PageState::Active && elapsed(now, page.last_seen) >= QUIET {
                    page.state = PageState::Silent;
                    changed = true;
                }
            }
            let before = macs.len();
            macs.retain(|_, page| match page.state {
                PageState::Tolerated => elapsed(now, page.last_seen) < QUIET,
                PageState::Active | PageState::Silent => elapsed(now, page.last_seen) < KEEP,
            });
            changed |= macs.len() != before;
        }
        self.pages.retain(|_, macs| !macs.is_empty());
        self.told.retain(|subject, _| self.pages.contains_key(subject));
        changed
    }

    /// When [`expire`](Self::expire) has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        let ends = |page: &Page| match page.state {
            PageState::Tolerated | PageState::Active => page.last_seen.saturating_add(QUIET),
            PageState::Silent => page.last_seen.saturating_add(KEEP),
        };
        self.pages.values().flat_map(BTreeMap::values).map(ends).min()
    }

    /// Forgets endpoints that are gone, except for what failed their ADD: that is when somebody asks. It is history then:
    /// nobody uses the address here, and nobody hears whether the other goes on.
    pub fn retain_endpoints(&mut self, is_alive: impl Fn(&EndpointId) -> bool) {
        self.pages.retain(|(endpoint, _), macs| {
            if !is_alive(endpoint) {
                macs.retain(|_, page| page.at_add);
                for page in macs.values_mut().filter(|page| page.state == PageState::Active) {
                    page.state = PageState::Silent;
                }
            }
            !macs.is_empty()
        });
        self.told.retain(|subject, _| self.pages.contains_key(subject));
    }

    /// All conflicts, tolerated migrations left out, ordered by endpoint, address and MAC.
    pub fn views(&self) -> Vec<ConflictView> {
        let pages = self
            .pages
            .iter()
            .flat_map(|(subject, macs)| macs.iter().map(move |(mac, page)| (subject, mac, page)));
        pages
            .filter(|(_, _, page)| page.state != PageState::Tolerated)
            .map(|((endpoint, address), mac, page)| ConflictView {
                endpoint: endpoint.clone(),
                address: *address,
                mac: *mac,
                ifindex: page.ifindex,
                first_seen: page.first_seen,
                last_seen: page.last_seen,
                count: page.count,
                at_add: page.at_add,
                active: page.state == PageState::Active,
            })
            .collect()
    }

    fn enter(&mut self, holder: Holder<'_>, sighting: &Sighting, at_add: bool) -> Option<Began> {
        let subject = (holder.endpoint.clone(), sighting.address);
        let migrating = holder.vm && sighting.mac == holder.mac;
        let began = self.page(&subject, sighting, at_add).sighted(sighting.at, migrating);
        let tell =
            began && self.told.get(&subject).is_none_or(|last| elapsed(sighting.at, *last) >= NEWS_EVERY);
        if !tell {
            return None;
        }
        self.told.insert(subject, sighting.at);
        Some(Began {
            endpoint: holder.endpoint.clone(),
            address: sighting.address,
            mac: sighting.mac,
            at: sighting.at,
        })
    }

    /// The page of this claimant, made if need be; room is made first.
    fn page(&mut self, subject: &Subject, sighting: &Sighting, at_add: bool) -> &mut Page {
        let is_known = self.pages.get(subject).is_some_and(|macs| macs.contains_key(&sighting.mac));
        if !is_known {
            self.make_room(subject);
        }
        let fresh = Page {
            ifindex: sighting.ifindex,
            first_seen: sighting.at,
            last_seen: sighting.at,
            count: 0,
            at_add,
            state: PageState::Silent,
        };
        let page = self.pages.entry(subject.clone()).or_default().entry(sighting.mac).or_insert(fresh);
        page.ifindex = sighting.ifindex;
        page.at_add |= at_add;
        page
    }

    /// Drops the page that was silent longest, ended conflicts first: of this address once it has its share, of all
    /// once the book is full.
    fn make_room(&mut self, subject: &Subject) {
        let mine = self.pages.get(subject).map_or(0, BTreeMap::len);
        let total: usize = self.pages.values().map(BTreeMap::len).sum();
        if mine < PAGES_PER_ADDRESS && total < PAGES {
            return;
        }
        let all =
            self.pages.iter().flat_map(|(of, macs)| macs.iter().map(move |(mac, page)| (of, mac, page)));
        let victim = all
            .filter(|(of, ..)| mine < PAGES_PER_ADDRESS || *of == subject)
            .min_by_key(|(_, _, page)| (page.state == PageState::Active, page.last_seen))
            .map(|(of, mac, _)| (of.clone(), *mac));
        let Some((of, mac)) = victim else { return };
        let Some(macs) = self.pages.get_mut(&of) else { return };
        macs.remove(&mac);
        if macs.is_empty() {
            self.pages.remove(&of);
            self.told.remove(&of);
        }
    }
}

impl Page {
    /// Counts a sighting; `true` if a conflict began with it.
    fn sighted(&mut self, at: Duration, migrating: bool) -> bool {
        // Records of two CPUs may come out of order.
        self.first_seen = self.first_seen.min(at);
        self.last_seen = self.last_seen.max(at);
        self.count = self.count.saturating_add(1);
        let tolerated = migrating && elapsed(self.last_seen, self.first_seen) <= MIGRATION;
        let was_active = self.state == PageState::Active;
        self.state = match self.state {
            PageState::Active => PageState::Active,
            _ if tolerated => PageState::Tolerated,
            _ => PageState::Active,
        };
        self.state == PageState::Active && !was_active
    }
}

fn elapsed(now: Duration, since: Duration) -> Duration {
    now.saturating_sub(since)
}

/// A claimant that was silent for so long is gone: hosts refresh their neighbours' tables at least this often.
pub const QUIET: Duration = Duration::from_mins(1);

/// How long an ended conflict stays in the book: the time in which somebody looks into what happened.
pub const KEEP: Duration = Duration::from_hours(1);

/// How long both ends of a live migration may hold the same MAC and address. QEMU hands over within one second and
/// announces for half a second; a slow destination takes a few.
pub const MIGRATION: Duration = Duration::from_secs(10);

/// At most one event per address in this time, whatever MACs claim it.
pub const NEWS_EVERY: Duration = Duration::from_secs(10);

/// Claimants of one address: a real conflict has one or two, the rest is somebody playing.
pub const PAGES_PER_ADDRESS: usize = 8;

/// Pages in all: some 200 KiB at worst.
pub const PAGES: usize = 1024;

#[cfg(test)]
mod tests;
