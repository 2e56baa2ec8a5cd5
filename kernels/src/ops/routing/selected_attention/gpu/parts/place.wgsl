// Search in a list; `ranges` and `members` are offsets in `lists`.

const NOWHERE = 0xffffffffu;

// Returns the place of a token in an ascending list, counted over all heads, or NOWHERE.
fn place_of(list: u32, ranges: u32, members: u32, most: u32, token: u32) -> u32 {
    var begin = lists[ranges + 2 * list];
    var end = lists[ranges + 2 * list + 1];
    let last = end;
    let first = list / params.clusters * most;
    while begin < end {
        let middle = (begin + end) / 2;
        if lists[members + first + middle] < token {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    if begin < last && lists[members + first + min(begin, last - 1)] == token {
        return first + begin;
    }
    return NOWHERE;
}
