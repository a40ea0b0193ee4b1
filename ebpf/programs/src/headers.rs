//! Headers as they stand on the wire, and the numbers in them. Byte arrays only: no alignment, no
//! padding.

use core::mem::MaybeUninit;

use crate::words::{self, Words};
use aya_ebpf::{helpers::generated::bpf_skb_load_bytes, programs::TcContext};

pub(crate) const ETH_LEN: u32 = 14;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const DOT1Q: u16 = 0x8100;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const DOT1AD: u16 = 0x88a8;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP6: u8 = 58;
pub(crate) const SCTP: u8 = 132;

pub(crate) const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Options of neighbour discovery that carry a MAC.
pub(crate) const SOURCE_LINK_LAYER: u8 = 1;
pub(crate) const TARGET_LINK_LAYER: u8 = 2;
/// Neighbour discovery never crosses a router (RFC 4861, section 7.1).
pub(crate) const ND_HOP_LIMIT: u8 = 255;

pub(crate) type Mac = [u8; 6];
pub(crate) type Ip6 = [u8; 16];
/// What the policy reads of a transport header.
pub(crate) type L4 = [u8; 8];

pub(crate) const UNSPECIFIED6: Ip6 = [0; 16];

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ethernet {
    pub(crate) dst: Mac,
    pub(crate) src: Mac,
    pub(crate) ethertype: [u8; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Arp {
    /// htype, ptype, hlen, plen.
    pub(crate) form: [u8; 6],
    pub(crate) op: [u8; 2],
    pub(crate) sha: Mac,
    pub(crate) spa: [u8; 4],
    pub(crate) tha: Mac,
    pub(crate) tpa: [u8; 4],
}

impl Arp {
    /// Where it ends in a frame.
    pub(crate) const END: u32 = ETH_LEN + 28;
    pub(crate) const REQUEST: u16 = 1;
    pub(crate) const REPLY: u16 = 2;
    /// Ethernet, IPv4, lengths 6 and 4.
    pub(crate) const FORM: [u8; 6] = [0, 1, 8, 0, 6, 4];
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv4 {
    pub(crate) version_ihl: u8,
    pub(crate) tos: u8,
    pub(crate) total_len: [u8; 2],
    pub(crate) id: [u8; 2],
    pub(crate) fragment: [u8; 2],
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) checksum: [u8; 2],
    pub(crate) src: [u8; 4],
    pub(crate) dst: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv6 {
    pub(crate) version_class_flow: [u8; 4],
    pub(crate) payload_len: [u8; 2],
    pub(crate) next: u8,
    pub(crate) hop_limit: u8,
    pub(crate) src: Ip6,
    pub(crate) dst: Ip6,
}

/// The first bytes of a frame, loaded with one call: Ethernet, the fixed network header, and eight bytes of
/// what follows an IPv6 header. Zeroes behind the end of a shorter frame.
///
/// The two bytes before the frame put the network header on an even address, so that addresses are
/// compared by words.
#[repr(C, align(8))]
pub(crate) struct Head {
    before: [u8; 2],
    bytes: [u8; HEAD_LEN],
    behind: [u8; 6],
}

// SAFETY: 72 bytes, aligned to eight, without padding.
unsafe impl Words for Head {}

const HEAD_LEN: usize = 64;

impl Head {
    /// Loads the head of what begins at `from` (behind a tag in the bytes, the MACs are cut off). The caller
    /// gives the room, since a value returned is a value copied.
    #[inline(always)]
    pub(crate) fn load<'a>(ctx: &TcContext, from: u32, room: &'a mut MaybeUninit<Head>) -> &'a Head {
        if load_words(ctx, from, room) {
            // SAFETY: every word was written.
            return unsafe { room.assume_init_ref() };
        }
        let head = words::cleared(room);
        let left = ctx.len().saturating_sub(from);
        load_head(ctx, from, left, &mut head.bytes);
        head
    }

    #[inline(always)]
    pub(crate) fn ethernet(&self) -> &Ethernet {
        self.at::<Ethernet, 0>()
    }

    /// The network header.
    #[inline(always)]
    pub(crate) fn network<T>(&self) -> &T {
        self.at::<T, { ETH_LEN as usize }>()
    }

    /// The begin of the transport header behind a network header of fixed length `T`.
    #[inline(always)]
    pub(crate) fn transport<const AT: usize>(&self) -> L4 {
        *self.at::<L4, AT>()
    }

    #[inline(always)]
    fn at<T, const AT: usize>(&self) -> &T {
        const { assert!(AT + size_of::<T>() <= HEAD_LEN && align_of::<T>() == 1) };
        // SAFETY: the constant check above keeps it within `bytes`; the types are byte arrays, so every
        // alignment and every value is fine.
        unsafe { &*self.bytes.as_ptr().add(AT).cast::<T>() }
    }
}

/// Copies the head by words, straight from the packet, where the kernel holds it in one piece: the usual
/// case, and a third of what the helper takes. `false`: shorter, or not in one piece.
#[inline(always)]
fn load_words(ctx: &TcContext, from: u32, room: &mut MaybeUninit<Head>) -> bool {
    const { assert!(size_of::<Head>() == 72 && core::mem::offset_of!(Head, bytes) == 2) };
    let Some(packet) = Window::<WORDS_LEN>::open(ctx, from) else { return false };
    let into = room.as_mut_ptr().cast::<u8>();
    // SAFETY: the words lie within the room, two bytes further on than in the packet, where they are aligned.
    unsafe {
        into.cast::<u16>().write(0);
        into.add(2).cast::<u16>().write(packet.u16::<0>() as u16);
        into.add(4).cast::<u32>().write(packet.u32::<2>() as u32);
        into.add(8).cast::<u64>().write(packet.u64::<6>());
        into.add(16).cast::<u64>().write(packet.u64::<14>());
        into.add(24).cast::<u64>().write(packet.u64::<22>());
        into.add(32).cast::<u64>().write(packet.u64::<30>());
        into.add(40).cast::<u64>().write(packet.u64::<38>());
        into.add(48).cast::<u64>().write(packet.u64::<46>());
        into.add(56).cast::<u64>().write(packet.u64::<54>());
        into.add(64).cast::<u64>().write(0);
    }
    true
}

/// What is copied by words: Ethernet, IPv6, and eight bytes.
const WORDS_LEN: usize = 62;

/// The first `LEN` bytes of a frame, read in place, words in the byte order of this machine. Each is given as 64 bits,
/// which is what a register holds: a narrower type would be cut to its width once more.
///
/// Rust has no load from a place of unknown alignment but by single bytes. The targets of the kernel that we run
/// on take it whole, and its verifier knows that: hence the assembly.
#[derive(Clone, Copy)]
pub(crate) struct Window<const LEN: usize> {
    begin: usize,
}

macro_rules! load {
    ($word:ident, $text:literal) => {
        #[inline(always)]
        pub(crate) fn $word<const AT: usize>(self) -> u64 {
            const { assert!(AT + size_of::<$word>() <= LEN) };
            let word: u64;
            // SAFETY: the word lies between `begin` and the end that was compared with it.
            unsafe {
                core::arch::asm!(
                    concat!("{word} = *(", $text, " *)({begin} + {at})"),
                    word = lateout(reg) word, begin = in(reg) self.begin, at = const AT,
                    options(pure, readonly, nostack),
                );
            }
            word
        }
    };
}

impl<const LEN: usize> Window<LEN> {
    /// `None`: the frame is shorter, or the kernel does not hold it in one piece.
    #[inline(always)]
    pub(crate) fn open(ctx: &TcContext, from: u32) -> Option<Self> {
        let begin = ctx.data() + from as usize;
        (begin + LEN <= ctx.data_end()).then_some(Self { begin })
    }

    load!(u8, "u8");
    load!(u16, "u16");
    load!(u32, "u32");
    load!(u64, "u64");
}

/// Copies at most 64 of the `left` bytes that begin at `from`; gives how many.
#[inline(always)]
pub(crate) fn load_head(ctx: &TcContext, from: u32, left: u32, into: &mut [u8; HEAD_LEN]) -> u32 {
    const { assert!(HEAD_LEN.is_power_of_two()) };
    let wanted = if left < HEAD_LEN as u32 { left } else { HEAD_LEN as u32 };
    // The verifier of 5.10 follows a mask, but not a comparison with zero: this is 1 to 64 for it.
    let size = (wanted.wrapping_sub(1) & (HEAD_LEN as u32 - 1)) + 1;
    // SAFETY: `into` has HEAD_LEN bytes, and `size` is at most that. With nothing left the helper fails.
    let result = unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast(), from, into.as_mut_ptr().cast(), size) };
    if result == 0 { size } else { 0 }
}

/// Loads bytes from somewhere in the frame; `false` if it ends before.
#[inline(always)]
pub(crate) fn load_into<const N: usize>(ctx: &TcContext, at: u32, into: &mut [u8; N]) -> bool {
    // SAFETY: `into` has N bytes.
    unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast(), at, into.as_mut_ptr().cast(), N as u32) == 0 }
}

/// Whether the kernel holds an outer tag beside the frame.
#[inline(always)]
pub(crate) fn is_tagged(ctx: &TcContext) -> bool {
    // SAFETY: the kernel hands a valid `__sk_buff`.
    unsafe { (*ctx.skb.skb).vlan_present != 0 }
}

/// The outer tag that the kernel holds beside the frame: (protocol, tag control information).
#[inline(always)]
pub(crate) fn outer_tag(ctx: &TcContext) -> Option<(u16, u16)> {
    // SAFETY: the kernel hands a valid `__sk_buff`.
    let (present, proto, tci) = unsafe {
        let skb = ctx.skb.skb;
        ((*skb).vlan_present, (*skb).vlan_proto, (*skb).vlan_tci)
    };
    (present != 0).then_some(((proto as u16).to_be(), tci as u16))
}

/// VLAN identifier within the tag control information.
pub(crate) const VID_MASK: u16 = 0x0fff;
