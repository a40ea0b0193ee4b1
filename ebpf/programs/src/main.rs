#![no_std]
#![no_main]
//! skeleton
mod maps;
use aya_ebpf::{macros::classifier, programs::TcContext};
#[classifier]
pub fn up_from_pod(ctx: TcContext) -> i32 {
    let i = unsafe { (*ctx.skb.skb).ifindex };
    if let Some(p) = unsafe { maps::PORTS.get(&i) } {
        return p.mtu as i32;
    }
    use core::hint::black_box as b;
    b(&maps::SRC);
    b(&maps::MACS);
    b(&maps::VLANS);
    b(&maps::LOCAL);
    b(&maps::WATCH);
    b(&maps::UPLINKS);
    b(&maps::BRIDGE);
    b(&maps::CTL);
    b(&maps::COUNT);
    b(&maps::LAST);
    b(&maps::RATE);
    b(&maps::FACTS);
    b(&maps::DROPS);
    -1
}
#[classifier]
pub fn up_to_pod(_ctx: TcContext) -> i32 {
    -1
}
#[classifier]
pub fn up_uplink(_ctx: TcContext) -> i32 {
    -1
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
