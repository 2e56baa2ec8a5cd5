@group(0) @binding(SLOTS_BINDING) var<storage, read> slots: array<u32>;

fn slot_of(n: u32) -> u32 {
    return slots[params.slots_start + n];
}
