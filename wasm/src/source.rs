//! Files that JavaScript reads for us.

use crate::error::caught;
use foveate_core::weights::{BoxFuture, Source, check_range};
use foveate_core::{Error, Result};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A file that is read in ranges. */
export interface JsSource {
  readonly name: string;
  readonly size: number;
  /** Exactly `length` bytes from `offset` on. */
  read(offset: number, length: number): Promise<Uint8Array>;
}
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "JsSource")]
    pub type JsSource;
    #[wasm_bindgen(method, getter)]
    fn name(this: &JsSource) -> String;
    #[wasm_bindgen(method, getter)]
    fn size(this: &JsSource) -> f64;
    #[wasm_bindgen(method, catch)]
    async fn read(this: &JsSource, offset: f64, length: f64) -> Result<JsValue, JsValue>;
}

/// Integers that a number of JavaScript holds exactly end here.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

pub(crate) struct File {
    file: JsSource,
    name: String,
    len: u64,
}

impl File {
    pub(crate) fn new(file: JsSource) -> Result<Self> {
        let (name, size) = (file.name(), file.size());
        if !(0.0..=MAX_SAFE).contains(&size) || size.fract() != 0.0 {
            return Err(Error::Read { what: name, reason: format!("its size is {size}") });
        }
        Ok(Self { file, name, len: size as u64 })
    }

    async fn range(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        check_range(&self.name, self.len, offset, len)?;
        let value = self.file.read(offset as f64, len as f64).await.map_err(|e| caught(&self.name, &e))?;
        let Ok(bytes) = value.dyn_into::<Uint8Array>() else {
            return Err(Error::Read { what: self.name.clone(), reason: "it gave no Uint8Array".into() });
        };
        if u64::from(bytes.length()) != len {
            let reason = format!("asked for {len} bytes, got {}", bytes.length());
            return Err(Error::Read { what: self.name.clone(), reason });
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(len as usize).map_err(|_| Error::OutOfMemory { needs: len, has: 0 })?;
        copy.resize(len as usize, 0);
        bytes.copy_to(&mut copy);
        Ok(copy)
    }
}

impl Source for File {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, len: u64) -> BoxFuture<'_, Result<Vec<u8>>> {
        Box::pin(self.range(offset, len))
    }
}
