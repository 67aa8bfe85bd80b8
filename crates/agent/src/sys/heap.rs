//! The heap: small pieces from lists by size, large ones from the kernel and back to it.
//!
//! A small piece has a power of two of bytes; when it is freed it waits in the list of its size. A large piece is a
//! mapping of its own, so the longest request leaves nothing behind.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

const PIECE_BYTES_MIN: usize = 16;
const PIECE_BYTES_MAX: usize = 32 << 10;
/// How much is had from the kernel at a time for small pieces. What is not used of it costs nothing but addresses.
const STOCK_BYTES: usize = 256 << 10;
const PAGE_BYTES: usize = 4096;
const SIZES: usize = (PIECE_BYTES_MAX / PIECE_BYTES_MIN).ilog2() as usize + 1;

struct Heap {
    /// For each size the first of its free pieces; in its first word is the address of the next.
    free: [Cell<*mut u8>; SIZES],
    /// What was never handed out: where it begins, and how much it is.
    stock: Cell<(*mut u8, usize)>,
}

#[global_allocator]
static HEAP: Heap =
    Heap { free: [const { Cell::new(ptr::null_mut()) }; SIZES], stock: Cell::new((ptr::null_mut(), 0)) };

// SAFETY: to be shared is to be used by several threads, and this process has one.
unsafe impl Sync for Heap {}

// SAFETY: what is handed out is nobody else's until it comes back: it was cut from the stock or mapped anew, and is
// in no list. It has at least the bytes that are asked for, and begins at a multiple of them up to a page; whoever
// asks for a stricter alignment gets nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Kind::of(layout) {
            Kind::Small(size) => self.take(size),
            Kind::Large => map(layout.size()),
            Kind::Refused => ptr::null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for this function.
        let piece = unsafe { self.alloc(layout) };
        // A new mapping is all zeros.
        if Kind::of(layout) != Kind::Large && !piece.is_null() {
            // SAFETY: the piece has as many bytes.
            unsafe { piece.write_bytes(0, layout.size()) };
        }
        piece
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match Kind::of(layout) {
            // SAFETY: it is of this size, because its layout is, and nobody uses it any more.
            Kind::Small(size) => unsafe { self.give_back(piece, size) },
            // SAFETY: it is a mapping of as many bytes, and nobody uses it any more. The kernel refuses only to
            // split mappings beyond its limit; then this one stays.
            Kind::Large => drop(unsafe { munmap(piece.cast(), layout.size()) }),
            Kind::Refused => {}
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller answers for the new size as for the old.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        match (Kind::of(layout), Kind::of(wanted)) {
            (old, new) if old == new && old != Kind::Large => piece,
            (Kind::Large, Kind::Large) => {
                // SAFETY: it is a mapping of as many bytes. If it moves, only the caller has had its address.
                let moved = unsafe { mremap(piece.cast(), layout.size(), bytes, MremapFlags::MAYMOVE) };
                moved.map_or(ptr::null_mut(), |at| at.cast())
            }
            _ => {
                // SAFETY: the layout is valid. Both pieces have the bytes that are copied, and are two.
                unsafe {
                    let other = self.alloc(wanted);
                    if !other.is_null() {
                        ptr::copy_nonoverlapping(piece, other, layout.size().min(bytes));
                        self.dealloc(piece, layout);
                    }
                    other
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// From the list at this place.
    Small(usize),
    Large,
    Refused,
}

impl Kind {
    fn of(layout: Layout) -> Self {
        if layout.align() > PAGE_BYTES {
            return Kind::Refused;
        }
        let bytes = layout.size().max(layout.align()).max(PIECE_BYTES_MIN);
        if bytes > PIECE_BYTES_MAX {
            return Kind::Large;
        }
        Kind::Small((bytes.next_power_of_two() / PIECE_BYTES_MIN).ilog2() as usize)
    }
}

impl Heap {
    fn take(&self, size: usize) -> *mut u8 {
        let piece = self.free[size].get();
        if piece.is_null() {
            return self.cut(PIECE_BYTES_MIN << size);
        }
        // SAFETY: it is a free piece, so its first word is what `give_back` wrote there.
        self.free[size].set(unsafe { piece.cast::<*mut u8>().read() });
        piece
    }

    /// # Safety
    /// The piece is of this size, came from this heap, and nobody uses it any more.
    unsafe fn give_back(&self, piece: *mut u8, size: usize) {
        // SAFETY: the smallest piece has place for a word and is aligned for it.
        unsafe { piece.cast::<*mut u8>().write(self.free[size].get()) };
        self.free[size].set(piece);
    }

    /// A new piece.
    fn cut(&self, bytes: usize) -> *mut u8 {
        let (mut stock, mut left) = self.stock.get();
        let mut before = stock.align_offset(bytes.min(PAGE_BYTES));
        if before.saturating_add(bytes) > left {
            // What is left of the old stock is forgotten: less than the largest piece.
            (stock, left, before) = (map(STOCK_BYTES), STOCK_BYTES, 0);
            if stock.is_null() {
                return stock;
            }
        }
        let taken = before + bytes;
        // SAFETY: both are inside the stock, which has at least as many bytes.
        let (piece, rest) = unsafe { (stock.add(before), stock.add(taken)) };
        self.stock.set((rest, left - taken));
        piece
    }
}

/// A new mapping of at least as many bytes, all zeros; null if the kernel has none.
fn map(bytes: usize) -> *mut u8 {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: where it comes to lie is for the kernel to say, so it takes the place of nothing.
    let mapping = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) };
    mapping.map_or(ptr::null_mut(), |at| at.cast())
}
