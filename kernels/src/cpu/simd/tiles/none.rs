use super::Uninit;
use crate::cpu::{Matrix, Tile};

pub(super) fn lent() -> bool {
    false
}

pub(super) unsafe fn split_rows(_: Matrix<'_>, _: usize, _: &mut [Uninit]) {
    unreachable!("no unit is lent")
}

pub(super) unsafe fn split_columns(_: Matrix<'_>, _: usize, _: &mut [Uninit]) {
    unreachable!("no unit is lent")
}

pub(super) unsafe fn multiply(_: [&[Uninit]; 2], _: usize, _: bool, _: &mut Tile<'_>, _: bool) {
    unreachable!("no unit is lent")
}
