//! The parts that tensors play in a model.

/// A tensor's part in the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Role {
    /// Token embeddings, `[vocab, dim]`.
    Embedding,
    /// The product that widens embeddings to the residual stream, and the one in front of the head that narrows it.
    ProjectIn,
    /// The product in front of the head that narrows the residual stream.
    ProjectOut,
    /// Learned position embeddings, `[context, dim]`, of which a configuration may leave out the first.
    Positions,
    /// Token types, `[types, dim]`.
    TokenTypes,
    /// The norm in front of the head.
    FinalNorm,
    /// The product of the layer in front of the output product, and its norm.
    Transform,
    /// The norm behind that product.
    TransformNorm,
    /// The output product, `[vocab, dim]`.
    Head,
    /// The norm in front of a layer's mixer.
    InputNorm,
    /// The norm in front of a layer's MLP.
    PostNorm,
    /// The norm of the mixer's output, before it is added to the residual stream.
    MixedNorm,
    /// The norm of the MLP's output, before it is added to the residual stream.
    MlpNorm,
    /// The product that gives queries.
    Query,
    /// The product that gives keys.
    Key,
    /// The product that gives values.
    Value,
    /// The product that gives the latent that keys and values come from, and behind it the shared part of keys. Then
    /// [`Key`](Role::Key) and [`Value`](Role::Value) are products of it.
    Latent,
    /// The norm of the latent.
    LatentNorm,
    /// In place of [`Key`](Role::Key) where files hold it head by head, `[heads, latent, out]`.
    KeyOfHeads,
    /// In place of [`Value`](Role::Value) where files hold it head by head, `[heads, out, latent]`.
    ValueOfHeads,
    /// The product that gives the vector that queries come from. Then [`Query`](Role::Query) is a product of it.
    QueryLatent,
    /// The norm of the vector that queries come from.
    QueryLatentNorm,
    /// The norm of the embeddings.
    EmbedNorm,
    /// The norm of the residual stream behind the mixer, and behind the MLP.
    MixedSumNorm,
    /// The norm of the residual stream behind the MLP.
    MlpSumNorm,
    /// The norm of what the mixer's output product reads, and of what the MLP's does.
    MixedInnerNorm,
    /// The norm of what the MLP's output product reads.
    InnerNorm,
    /// A number of the MLP's activation, by its name instead of `weight`.
    Activation,
    /// The norm of each query head.
    QueryNorm,
    /// The norm of each key head.
    KeyNorm,
    /// The norm of each value head.
    ValueNorm,
    /// The product of the mixer's outputs.
    Output,
    /// The MLP's product whose activation gates.
    Gate,
    /// The MLP's product that is gated, or activated where nothing gates.
    Up,
    /// The MLP's output product.
    Down,
    /// The product that gives the logits of experts.
    Router,
    /// The bias of the experts' scores that counts when experts are chosen, and not in their weights.
    Correction,
    /// The [`Gate`](Role::Gate) of each expert.
    ExpertGate,
    /// The [`Up`](Role::Up) of each expert.
    ExpertUp,
    /// The gate of each expert, and its values behind it, where files hold both as one.
    ExpertGateUp,
    /// The [`Down`](Role::Down) of each expert.
    ExpertDown,
    /// The [`Down`](Role::Down) of all experts, where files hold them as one and others do not.
    ExpertsDown,
    /// The [`Gate`](Role::Gate) of the MLP that all tokens share.
    SharedGate,
    /// The [`Up`](Role::Up) of the MLP that all tokens share.
    SharedUp,
    /// The [`Down`](Role::Down) of the MLP that all tokens share.
    SharedDown,
    /// The product that gives the gate of the shared MLP's outputs, one number for a token.
    SharedOutputGate,
    /// The norm of what the router reads, where experts stand apart; of what they read, and of what they give; and of what
    /// the MLP of all tokens gives beside them.
    RouterNorm,
    /// The norm of what experts read.
    ExpertsNorm,
    /// The norm of what experts give.
    ExpertsOutputNorm,
    /// The norm of what the MLP of all tokens gives beside experts.
    SharedOutputNorm,
    /// The number that multiplies the weight of each expert.
    ExpertFactor,
    /// The table of each token's vectors for all layers, `[vocab, layers dim]`; the product that gives such vectors from an
    /// embedding, and the norm of those.
    LayerTable,
    /// The product that gives the vectors of all layers from an embedding.
    LayerProjection,
    /// The norm of those vectors.
    LayerVectorNorm,
    /// The product whose activation such a vector multiplies, the product behind it, and its norm.
    LayerGate,
    /// The product behind the activation that a layer's vector multiplies.
    LayerOutput,
    /// The norm of that product.
    LayerOutputNorm,
    /// The number that the stream is multiplied by behind a layer.
    LayerFactor,
    /// The product that makes each stream but the first from an embedding, and the one that it has behind the layers; their
    /// index is that of a layer.
    StreamIn,
    /// The product that each stream but the first has behind the layers.
    StreamOut,
    /// The product that gives a token's numbers for its streams, and the norm in front of it.
    StreamRouter,
    /// The norm in front of the stream router.
    StreamRouterNorm,
    /// The products that turn those numbers into coefficients of predictions, `[n n, n]`, and of corrections, `[n, n]`.
    StreamPrediction,
    /// The product that turns a token's numbers into coefficients of corrections, `[n, n]`.
    StreamCorrection,
    /// The numbers that multiply the stream for the branch of vectors.
    StreamFactor,
    /// The products of a low rank beside the mixer, and their norm.
    LowRankIn,
    /// The second product of a low rank beside the mixer.
    LowRankOut,
    /// The norm of the products of a low rank.
    LowRankNorm,
    /// The norm of the stream and the embedding in front of a block, the norm in front of its MLP, and the product of what
    /// it gives.
    BlockNorm,
    /// The norm in front of a block's MLP.
    BlockMlpNorm,
    /// The product of what a block gives.
    BlockOutput,
    /// The products of adapters: of the first product of a block's MLP, and of queries, keys and values.
    MlpAdapterIn,
    /// The second product of the adapter of a block's MLP.
    MlpAdapterOut,
    /// The first product of the adapter of queries.
    QueryAdapterIn,
    /// The second product of the adapter of queries.
    QueryAdapterOut,
    /// The first product of the adapter of keys.
    KeyAdapterIn,
    /// The second product of the adapter of keys.
    KeyAdapterOut,
    /// The first product of the adapter of values.
    ValueAdapterIn,
    /// The second product of the adapter of values.
    ValueAdapterOut,
    /// The logit of each head that has no value.
    Sinks,
    /// The product that gives the gates of the mixer's outputs.
    MixedGate,
    /// The product that gives the vector that gates come from. Then [`MixedGate`](Role::MixedGate) is a product of it.
    GateLatent,
    /// The product that gives the delta rule's `beta`.
    Beta,
    /// The product that gives the decay's input.
    Decay,
    /// The product that gives the vector that decays come from. Then [`Decay`](Role::Decay) is a product of it.
    DecayLatent,
    /// The logarithm of the decay's rate, for each value head.
    DecayRate,
    /// A bias of the decay's input, for each value head.
    DecayBias,
    /// The convolution of queries, `[channels, window]`.
    QueryConv,
    /// The convolution of keys, `[channels, window]`.
    KeyConv,
    /// The convolution of values, `[channels, window]`.
    ValueConv,
    /// The norm of each head of the delta rule's outputs, and of the groups of a scan's.
    HeadNorm,
    /// The product in front of a convolution that is a mixer, and of a scan: what all of it reads.
    ConvInput,
    /// The convolution of such a mixer, `[channels, window]`.
    Conv,
    /// The output product of such a mixer.
    ConvOutput,
    /// The share of each head's values that skips a scan.
    Skip,
    /// The product that gives the queries of routing heads, which are their keys, too.
    Routed,
    /// The product that gives the values of routing heads.
    RoutedValue,
    /// Centroids, `[heads, clusters, dim]`.
    Centroids,
    /// The product of what routing heads give.
    RoutedOutput,
    /// The layer in front of the output product of a head that judges a whole text, and its norm.
    Pooler,
    /// The norm behind that layer.
    PoolerNorm,
    /// The output product of such a head.
    Classifier,
    /// The products in front of experts and behind them, where they read fewer elements than the stream has.
    ExpertsIn,
    /// The product behind experts.
    ExpertsOut,
    /// Divisors of the rotation's frequencies: of all lengths, or of short and of long ones.
    RopeDivisors,
    /// Divisors of the rotation's frequencies in short texts.
    RopeShort,
    /// Divisors of the rotation's frequencies in long texts.
    RopeLong,
}
