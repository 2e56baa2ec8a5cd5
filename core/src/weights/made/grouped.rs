//! Whole numbers of a few bits with a scale and a zero point for each group of inputs: GPTQ, AWQ and compressed-tensors. They
//! become the block format that holds `scale (q - zero)` exactly.
//!
//! | bits | scales | becomes |
//! |---|---|---|
//! | 2, 3, and 4 with a zero of 8 | f16 | `Q4_0` |
//! | 4 | f16 | `Q5_0`, from -16 to 15 |
//! | 8 with a zero of 128 | f16 | `Q8_0` |
//! | 2 to 4, 8 with a zero of 128 | bf16, f32 | `Q8F` |
//! | 8 with zeros of their own | any | f32 |
//! | any, in groups that are no whole blocks or not in order | any | f32 |

use super::{Recipe, ScaleType, push_q8_f};
use foveate_kernels::dtype::DType;
use std::ops::Range;

const BLOCK: u64 = 32;

/// How whole numbers are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Layout {
    /// `[inputs bits / 32, outputs]` words, inputs packed low bits first; zeros `[groups, outputs bits / 32]`, less 1 in its
    /// first version.
    Gptq { less: u32 },
    /// `[inputs, outputs / 8]` words of four bits in the order 0, 2, 4, 6, 1, 3, 5, 7; zeros `[groups, outputs / 8]` likewise.
    Awq,
    /// `[outputs, inputs bits / 32]` words; zeros `[outputs bits / 32, groups]`, packed along the outputs.
    Rows,
}

/// Inputs: words, scales (`[groups, outputs]`; `[outputs, groups]` for [`Layout::Rows`]), then the zeros and the group of each
/// input, if there are any.
pub(in super::super) struct Grouped {
    pub(in super::super) layout: Layout,
    pub(in super::super) bits: u32,
    pub(in super::super) inputs: u64,
    pub(in super::super) outputs: u64,
    pub(in super::super) groups: u64,
    /// Inputs of a group, of which the last may have fewer.
    pub(in super::super) size: u64,
    pub(in super::super) scales: ScaleType,
    /// If false, every zero is half of the range.
    pub(in super::super) zeros: bool,
    /// All zeros are said to be half of the range.
    pub(in super::super) symmetric: bool,
    /// The group of each input, if they are not in order.
    pub(in super::super) order: Option<Vec<u32>>,
}

impl Grouped {
    /// Returns the format of the result.
    pub(in super::super) fn format(&self) -> DType {
        let whole = self.inputs.is_multiple_of(BLOCK) && (self.groups == 1 || self.size.is_multiple_of(BLOCK));
        let half = self.scales == ScaleType::Known(DType::F16);
        match self.bits {
            _ if self.order.is_some() || !whole => DType::F32,
            // Differences from -255 to 255.
            8 if !self.symmetric => DType::F32,
            _ if !half => DType::Q8F,
            2 | 3 => DType::Q4_0,
            4 if self.symmetric => DType::Q4_0,
            4 => DType::Q5_0,
            _ => DType::Q8_0,
        }
    }

    /// Returns the bytes of the words.
    fn word_bytes(&self) -> u64 {
        match self.layout {
            Layout::Gptq { .. } => (self.inputs * u64::from(self.bits)).div_ceil(32) * 4 * self.outputs,
            Layout::Awq => self.inputs * self.outputs / 8 * 4,
            Layout::Rows => self.outputs * self.row_words() * 4,
        }
    }

    fn row_words(&self) -> u64 {
        (self.inputs * u64::from(self.bits)).div_ceil(32)
    }

    fn zero_bytes(&self) -> u64 {
        let packed = (self.outputs * u64::from(self.bits)).div_ceil(32) * 4;
        self.groups * packed
    }

    /// Returns the whole numbers of the inputs of an output.
    fn codes(&self, words: &[u8], o: usize) -> Vec<u32> {
        let (inputs, outputs) = (self.inputs as usize, self.outputs as usize);
        match self.layout {
            Layout::Awq => (0..inputs).map(|i| awq(&words[4 * (i * (outputs / 8) + o / 8)..], o)).collect(),
            Layout::Gptq { .. } => {
                let column: Vec<u8> = (0..self.row_words() as usize)
                    .flat_map(|w| words[4 * (w * outputs + o)..][..4].iter().copied())
                    .collect();
                (0..inputs).map(|i| bits_at(&column, i, self.bits)).collect()
            }
            Layout::Rows => {
                let width = self.row_words() as usize * 4;
                let row = &words[o * width..][..width];
                (0..inputs).map(|i| bits_at(row, i, self.bits)).collect()
            }
        }
    }

    /// Returns the zero of a group of an output.
    fn zero(&self, zeros: &[u8], g: usize, o: usize) -> u32 {
        let (outputs, groups) = (self.outputs as usize, self.groups as usize);
        if !self.zeros {
            return 1 << (self.bits - 1);
        }
        match self.layout {
            Layout::Awq => awq(&zeros[4 * (g * (outputs / 8) + o / 8)..], o),
            Layout::Gptq { less } => {
                let width = (outputs * self.bits as usize).div_ceil(32) * 4;
                bits_at(&zeros[g * width..][..width], o, self.bits) + less
            }
            Layout::Rows => {
                let bit = o * self.bits as usize;
                let at = |w: usize| 4 * (w * groups + g);
                let word = |w: usize| zeros.get(at(w)..at(w) + 4).map_or([0; 4], |b| [b[0], b[1], b[2], b[3]]);
                let both = [word(bit / 32), word(bit / 32 + 1)].concat();
                let from = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| both[i])) >> (bit % 32);
                from as u32 & ((1 << self.bits) - 1)
            }
        }
    }
}

/// Returns number `i` of a row of numbers of `bits` bits.
fn bits_at(row: &[u8], i: usize, bits: u32) -> u32 {
    let bit = i * bits as usize;
    let high = row.get(bit / 8 + 1).copied().unwrap_or(0);
    (u32::from(row[bit / 8]) | u32::from(high) << 8) >> (bit % 8) & ((1 << bits) - 1)
}

/// Returns the number of output `o` in the word at the beginning of `word`.
fn awq(word: &[u8], o: usize) -> u32 {
    let nibble = [0, 4, 1, 5, 2, 6, 3, 7][o % 8];
    u32::from(word[nibble / 2] >> (4 * (nibble % 2)) & 15)
}

impl Recipe for Grouped {
    fn needs(&self, _: Range<u64>) -> Vec<(usize, Range<u64>)> {
        let mut needs = vec![(0, 0..self.word_bytes()), (1, 0..self.groups * self.outputs * self.scales.bytes())];
        if self.zeros {
            needs.push((2, 0..self.zero_bytes()));
        }
        needs
    }

    fn rows(&self, rows: Range<u64>, parts: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let scales = self.scales.decode(&parts[1]);
        let zeros = parts.get(2).map_or(&[][..], |zeros| zeros);
        let (format, groups) = (self.format(), self.groups as usize);
        let (size, outputs) = (self.size as usize, self.outputs as usize);
        let group = |i: usize| self.order.as_ref().map_or(i / size, |order| order[i] as usize);
        let mut out = Vec::new();
        for o in rows.start as usize..rows.end as usize {
            let place = |g: usize| if self.layout == Layout::Rows { o * groups + g } else { g * outputs + o };
            let own: Vec<i32> = (0..groups).map(|g| self.zero(zeros, g, o) as i32).collect();
            let levels: Vec<i32> =
                self.codes(&parts[0], o).iter().enumerate().map(|(i, q)| *q as i32 - own[group(i)]).collect();
            if format == DType::F32 {
                let value = |(i, level): (usize, &i32)| (scales[place(group(i))] * *level as f32).to_le_bytes();
                out.extend(levels.iter().enumerate().flat_map(value));
                continue;
            }
            for (b, levels) in levels.chunks_exact(BLOCK as usize).enumerate() {
                let at = place(group(b * BLOCK as usize));
                let d = &parts[1][at * self.scales.bytes() as usize..][..self.scales.bytes() as usize];
                block(format, d, scales[at], levels, &mut out)?;
            }
        }
        Ok(out)
    }

    fn at_once(&self) -> bool {
        true
    }
}

/// Appends 32 numbers with their scale; `d` are the scale's bytes where it is an f16.
fn block(format: DType, d: &[u8], scale: f32, levels: &[i32], out: &mut Vec<u8>) -> Result<(), String> {
    let lowest = match format {
        DType::Q4_0 => -8,
        DType::Q5_0 => -16,
        _ => -128,
    };
    if let Some(level) = levels.iter().find(|level| !(lowest..-lowest).contains(*level)) {
        let advice = if format == DType::Q4_0 { ": its zeros are not 8, though sym is true" } else { "" };
        return Err(format!("a number of {level} does not fit {format}{advice}"));
    }
    let above = |i: usize| (levels[i] - lowest) as u32;
    match format {
        DType::Q8F => {
            push_q8_f([scale; 2], levels.iter().map(|level| *level as i8), out);
            return Ok(());
        }
        DType::Q8_0 => {
            out.extend_from_slice(d);
            out.extend(levels.iter().map(|level| *level as i8 as u8));
            return Ok(());
        }
        DType::Q5_0 => {
            out.extend_from_slice(d);
            let fifths = (0..32).fold(0u32, |bits, i| bits | (above(i) >> 4) << i);
            out.extend_from_slice(&fifths.to_le_bytes());
        }
        _ => out.extend_from_slice(d),
    }
    out.extend((0..16).map(|i| (above(i) & 15 | (above(i + 16) & 15) << 4) as u8));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::quant;
    use half::f16;

    fn number(seed: usize, bits: u32) -> u32 {
        (seed.wrapping_mul(2_654_435_761) >> 7) as u32 & ((1 << bits) - 1)
    }

    /// Packs numbers of `bits` bits into words along the last dimension.
    fn packed(rows: usize, count: usize, bits: u32, of: impl Fn(usize, usize) -> u32) -> Vec<Vec<u32>> {
        let row = |r: usize| {
            let mut words = vec![0u32; (count * bits as usize).div_ceil(32)];
            for i in 0..count {
                for bit in 0..bits as usize {
                    let at = i * bits as usize + bit;
                    words[at / 32] |= (of(r, i) >> bit & 1) << (at % 32);
                }
            }
            words
        };
        (0..rows).map(row).collect()
    }

    fn bytes(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn transposed(rows: &[Vec<u32>]) -> Vec<u32> {
        (0..rows[0].len()).flat_map(|i| rows.iter().map(move |row| row[i])).collect()
    }

    /// Decodes and compares with the formula, for numbers, zeros and scales of a fixed pattern.
    fn compare(recipe: &Grouped, parts: &[Vec<u8>], format: DType) {
        assert_eq!(recipe.format(), format);
        let (inputs, outputs, groups) = (recipe.inputs as usize, recipe.outputs as usize, recipe.groups as usize);
        let out = recipe.rows(0..recipe.outputs, parts).unwrap_or_else(|e| panic!("{format}: {e}"));
        let mut values = vec![0.0; inputs * outputs];
        quant::decode(format, &out, &mut values);
        for (at, value) in values.into_iter().enumerate() {
            let (o, i) = (at / inputs, at % inputs);
            let g = recipe.order.as_ref().map_or(i / (inputs / groups), |order| order[i] as usize);
            let zero = match recipe.zeros && !recipe.symmetric {
                true => number(g * 31 + o, recipe.bits) + u32::from(recipe.layout == Layout::Gptq { less: 1 }),
                false => 1 << (recipe.bits - 1),
            };
            let want = scale(g, o) * (number(at, recipe.bits) as f32 - zero as f32);
            assert_eq!(value, want, "{format} {:?} output {o} input {i}", recipe.layout);
        }
    }

    fn scale(g: usize, o: usize) -> f32 {
        f16::from_f32(0.01 + 0.003 * (g * 7 + o) as f32).to_f32()
    }

    #[test]
    fn gptq_is_exact_in_all_widths_and_orders() {
        let (inputs, outputs, groups) = (128, 32, 2);
        for bits in [2, 3, 4, 8] {
            for (symmetric, less, half, ordered) in
                [(true, 1, true, true), (false, 1, true, true), (false, 0, false, true), (false, 1, true, false)]
            {
                let words = transposed(&packed(outputs, inputs, bits, |o, i| number(o * inputs + i, bits)));
                let zeros = packed(groups, outputs, bits, |g, o| match symmetric {
                    true => (1 << (bits - 1)) - less,
                    false => number(g * 31 + o, bits),
                });
                let all = (0..groups).flat_map(|g| (0..outputs).map(move |o| scale(g, o)));
                let (scales, of): (Vec<u8>, _) = match half {
                    true => (all.flat_map(|d| f16::from_f32(d).to_le_bytes()).collect(), DType::F16),
                    false => (all.flat_map(f32::to_le_bytes).collect(), DType::F32),
                };
                let order = (!ordered).then(|| (0..inputs as u32).map(|i| i % 2).collect());
                let recipe = Grouped {
                    layout: Layout::Gptq { less },
                    bits,
                    inputs: inputs as u64,
                    outputs: outputs as u64,
                    groups: groups as u64,
                    size: (inputs / groups) as u64,
                    scales: ScaleType::Known(of),
                    zeros: true,
                    symmetric,
                    order,
                };
                let format = match (bits, ordered, half) {
                    (_, false, _) => DType::F32,
                    (8, ..) if !symmetric => DType::F32,
                    (.., false) => DType::Q8F,
                    (8, ..) => DType::Q8_0,
                    (4, ..) if !symmetric => DType::Q5_0,
                    _ => DType::Q4_0,
                };
                compare(&recipe, &[bytes(words), scales, bytes(zeros.concat())], format);
            }
        }
    }

    #[test]
    fn awq_and_rows_are_exact() {
        let (inputs, outputs, groups) = (64, 16, 2);
        let scales = |rows: bool| -> Vec<u8> {
            let all = (0..groups * outputs).map(|at| match rows {
                true => scale(at % groups, at / groups),
                false => scale(at / outputs, at % outputs),
            });
            all.flat_map(|d| f16::from_f32(d).to_le_bytes()).collect()
        };
        let of = |layout, symmetric: bool| Grouped {
            layout,
            bits: 4,
            inputs: inputs as u64,
            outputs: outputs as u64,
            groups: groups as u64,
            size: (inputs / groups) as u64,
            scales: ScaleType::Known(DType::F16),
            zeros: !symmetric,
            symmetric,
            order: None,
        };
        // Nibble n of a word is column 0, 2, 4, 6, 1, 3, 5, 7 of its eight.
        let turn = |at: usize| at / 8 * 8 + [0, 2, 4, 6, 1, 3, 5, 7][at % 8];
        let words = packed(inputs, outputs, 4, |i, o| number(turn(o) * inputs + i, 4));
        let zeros = packed(groups, outputs, 4, |g, o| number(g * 31 + turn(o), 4));
        let parts = [bytes(words.concat()), scales(false), bytes(zeros.concat())];
        compare(&of(Layout::Awq, false), &parts, DType::Q5_0);
        let words = packed(outputs, inputs, 4, |o, i| number(o * inputs + i, 4));
        let zeros = transposed(&packed(groups, outputs, 4, |g, o| number(g * 31 + o, 4)));
        let parts = [bytes(words.concat()), scales(true), bytes(zeros)];
        compare(&of(Layout::Rows, false), &parts, DType::Q5_0);
        compare(&of(Layout::Rows, true), &parts[..2], DType::Q4_0);
    }

    #[test]
    fn zeros_that_are_not_what_the_configuration_says_are_refused() {
        let recipe = Grouped {
            layout: Layout::Rows,
            bits: 4,
            inputs: 32,
            outputs: 8,
            groups: 1,
            size: 32,
            scales: ScaleType::Known(DType::F16),
            zeros: true,
            symmetric: true,
            order: None,
        };
        let refused = recipe.rows(0..8, &[vec![0xff; 128], vec![0; 16], vec![0; 4]]).expect_err("numbers of 15");
        assert!(refused.contains("sym is true"), "{refused}");
    }
}
