// Keys alone.

fn value(token: u32, n: u32) -> Element {
    return Element();
}

fn store_value(at: u32, entry: Element) {}
