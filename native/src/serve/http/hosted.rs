//! The models of a server, loaded at its start or on the first request.

use super::clock::now;
use super::error::{Failure, Result};
use super::{App, blocking};
use crate::serve::{Engine, lock};
use crate::{Embedder, Model};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Loads a model and starts its engine.
type Load = dyn Fn() -> crate::Result<(Model, Option<Engine>)> + Send + Sync;

/// A model that is served under a name.
pub struct Hosted {
    name: String,
    created: u64,
    /// The name of the model that this one is an adapter of.
    parent: Option<String>,
    /// Its share of [`App::with_memory`].
    bytes: u64,
    load: Option<Box<Load>>,
    loaded: Mutex<Option<Arc<Loaded>>>,
    /// The number of the request that used it last.
    used: AtomicU64,
}

/// A model in memory. A request holds it until its answer has ended.
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) model: Model,
    /// None for a model that only embeds.
    engine: Option<Engine>,
    pub(super) embedder: Mutex<Option<Embedder>>,
}

impl Loaded {
    fn new(name: &str, model: Model, engine: Option<Engine>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), model, engine, embedder: Mutex::default() })
    }

    pub(super) fn engine(&self) -> Result<&Engine> {
        let reason = || Failure::field("model", format!("{} embeds texts, it generates none", self.name));
        self.engine.as_ref().ok_or_else(reason)
    }

    /// Tokens of a request at most.
    pub(super) fn context(&self) -> u32 {
        self.engine.as_ref().map_or(self.model.config().context, Engine::context)
    }
}

impl Hosted {
    /// A model under a name. Without an engine it embeds, and generates nothing.
    pub fn new(name: impl Into<String>, model: Model, engine: Option<Engine>) -> Self {
        let name = name.into();
        let loaded = Mutex::new(Some(Loaded::new(&name, model, engine)));
        Self { name, created: now(), parent: None, bytes: 0, load: None, loaded, used: AtomicU64::new(0) }
    }

    /// A model that is loaded when the first request asks for it. It counts `bytes` against [`App::with_memory`]; if
    /// another model needs the room, it is unloaded while no request uses it.
    pub fn when_asked(
        name: impl Into<String>,
        bytes: u64,
        load: impl Fn() -> crate::Result<(Model, Option<Engine>)> + Send + Sync + 'static,
    ) -> Self {
        let load: Box<Load> = Box::new(load);
        let loaded = Mutex::default();
        let name = name.into();
        Self { name, created: now(), parent: None, bytes, load: Some(load), loaded, used: AtomicU64::new(0) }
    }

    /// Sets the name of the model that this one is an adapter of, which `/v1/models` tells.
    pub fn with_parent(self, parent: impl Into<String>) -> Self {
        Self { parent: Some(parent.into()), ..self }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The model if it is in memory.
    pub(super) fn loaded(&self) -> Option<Arc<Loaded>> {
        lock(&self.loaded).clone()
    }

    pub(super) fn engine(&self) -> Option<Engine> {
        self.loaded().and_then(|loaded| loaded.engine.clone())
    }

    pub(super) fn json(&self) -> Value {
        let mut json = json!({"id": self.name, "object": "model", "created": self.created, "owned_by": "foveate"});
        if let Some(parent) = &self.parent {
            json["parent"] = parent.as_str().into();
        }
        json
    }

    /// Unloads the model if it can be loaded again and no request uses it. Returns whether it did.
    fn unload(&self) -> bool {
        let idle = |loaded: &mut Arc<Loaded>| self.load.is_some() && Arc::strong_count(loaded) == 1;
        // Requests of other models look at the slot, so it is not locked while the engine stops.
        let taken = lock(&self.loaded).take_if(idle);
        let Some(loaded) = taken else { return false };
        if let Some(engine) = &loaded.engine {
            engine.stop(Duration::ZERO);
        }
        true
    }
}

impl App {
    /// The model of a name, which is loaded if it is not in memory.
    pub(super) async fn loaded(&self, name: Option<&str>) -> Result<Arc<Loaded>> {
        let hosted = self.hosted(name)?;
        hosted.used.store(self.turn.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(loaded) = hosted.loaded() {
            return Ok(loaded);
        }
        let app = self.clone();
        blocking(move || app.load(&hosted)).await?
    }

    fn load(&self, hosted: &Hosted) -> Result<Arc<Loaded>> {
        // One load at a time: two at once would both count the same free memory.
        let _one = lock(&self.loading);
        if let Some(loaded) = hosted.loaded() {
            return Ok(loaded);
        }
        let unavailable = |message: String| Failure::new(StatusCode::SERVICE_UNAVAILABLE, message);
        if !self.make_room(hosted) {
            let message =
                format!("there is no room for {}: requests use the other models; try again later", hosted.name);
            return Err(unavailable(message));
        }
        let Some(load) = &hosted.load else { return Err(unavailable(format!("{} is not loaded", hosted.name))) };
        let (model, engine) = load().map_err(|error| {
            // The reason may name files of this machine, so clients do not get it.
            eprintln!("cannot load {}: {error}", hosted.name);
            unavailable(format!("{} could not be loaded", hosted.name))
        })?;
        let loaded = Loaded::new(&hosted.name, model, engine);
        *lock(&hosted.loaded) = Some(loaded.clone());
        Ok(loaded)
    }

    /// Unloads models, the least recently used first, until `hosted` fits. A model that is larger than the memory is loaded
    /// alone. Returns whether there is room.
    fn make_room(&self, hosted: &Hosted) -> bool {
        loop {
            let unloadable = || self.hosted.iter().filter(|other| other.load.is_some() && other.loaded().is_some());
            let held: u64 = unloadable().map(|other| other.bytes).fold(0, u64::saturating_add);
            if held == 0 || held.saturating_add(hosted.bytes) <= self.memory {
                return true;
            }
            let mut oldest: Vec<_> = unloadable().collect();
            oldest.sort_by_key(|other| other.used.load(Ordering::Relaxed));
            if !oldest.into_iter().any(|other| other.unload()) {
                return false;
            }
        }
    }
}
