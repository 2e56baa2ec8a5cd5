fn clear(place: u32) {}
