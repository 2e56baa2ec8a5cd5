//! The parts that tensors play in a model.

/// A tensor's part in the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Role {
    /// Token embeddings, `[vocab, dim]`.
    Embedding,
    /// The product that widens embeddings to the residual stream.
    ProjectIn,
    /// The product in front of the head that narrows the residual stream.
    ProjectOut,
    /// Learned position embeddings, `[context, dim]`, of which a configuration may leave out the first.
    Positions,
    /// Token types, `[types, dim]`.
    TokenTypes,
    /// The biases of scores by distance, `[buckets, heads]`.
    Distances,
    /// The norm in front of the head.
    FinalNorm,
    /// The product of the layer in front of the output product.
    Transform,
    /// The norm behind the product of [`Transform`](Role::Transform).
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
    /// The norm of the residual stream behind the mixer.
    MixedSumNorm,
    /// The norm of the residual stream behind the MLP.
    MlpSumNorm,
    /// The norm of what the mixer's output product reads.
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
    /// The norm of what the router reads, where experts stand apart.
    RouterNorm,
    /// The norm of what experts read, where they stand apart.
    ExpertsNorm,
    /// The norm of what experts give, where they stand apart.
    ExpertsOutputNorm,
    /// The norm of what the MLP of all tokens gives beside experts.
    SharedOutputNorm,
    /// The number that multiplies the weight of each expert.
    ExpertFactor,
    /// The table of each token's vectors for all layers, `[vocab, layers dim]`.
    LayerTable,
    /// The product that gives the vectors of all layers from an embedding.
    LayerProjection,
    /// The norm of the vectors that [`LayerProjection`](Role::LayerProjection) gives.
    LayerVectorNorm,
    /// The product whose activation a layer's vector multiplies.
    LayerGate,
    /// The product behind the activation that a layer's vector multiplies.
    LayerOutput,
    /// The norm of what [`LayerOutput`](Role::LayerOutput) gives.
    LayerOutputNorm,
    /// The number that the stream is multiplied by behind a layer.
    LayerFactor,
    /// The product that makes each stream but the first from an embedding; the index of the stream is that of a layer.
    StreamIn,
    /// The product that each stream but the first has behind the layers, with the same index.
    StreamOut,
    /// The product that gives a token's numbers for its streams.
    StreamRouter,
    /// The norm in front of [`StreamRouter`](Role::StreamRouter).
    StreamRouterNorm,
    /// The product that turns a token's numbers into coefficients of predictions, `[n n, n]`.
    StreamPrediction,
    /// The product that turns a token's numbers into coefficients of corrections, `[n, n]`.
    StreamCorrection,
    /// The numbers that multiply the stream for the branch of vectors.
    StreamFactor,
    /// The product that gives the logit of a step of a recursion, or those of all steps; the number of the step is that of a
    /// layer.
    DepthRouter,
    /// The first product of a low rank beside the mixer.
    LowRankIn,
    /// The second product of a low rank beside the mixer.
    LowRankOut,
    /// The norm behind the products of a low rank.
    LowRankNorm,
    /// The norm of the stream and the embedding in front of a block.
    BlockNorm,
    /// The norm in front of a block's MLP.
    BlockMlpNorm,
    /// The product of what a block gives.
    BlockOutput,
    /// The first product of the adapter of a block's MLP.
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
    /// The second product of the in-context learning rates of a time mix.
    LearningRate,
    /// The product that [`LearningRate`](Role::LearningRate) reads.
    LearningRateLatent,
    /// The second product of the shares that the values of a time mix take from those of the first layer.
    ValueShare,
    /// The product that [`ValueShare`](Role::ValueShare) reads.
    ValueShareLatent,
    /// A vector of a time mix, by its name in RWKV-7 instead of `weight`: `x_r`, `k_k` and others.
    TimeMix,
    /// In place of the six vectors of shares of a time mix, where files hold them as one.
    TimeMixShares,
    /// The shares of the token before in what an MLP reads.
    Shift,
    /// The product that gives the queries of routing heads, which are their keys, too.
    Routed,
    /// The product that gives the values of routing heads.
    RoutedValue,
    /// Centroids, `[heads, clusters, dim]`.
    Centroids,
    /// The product of what routing heads give.
    RoutedOutput,
    /// The layer in front of the output product of a head that judges a whole text.
    Pooler,
    /// The norm behind [`Pooler`](Role::Pooler).
    PoolerNorm,
    /// The output product of a head that judges a whole text.
    Classifier,
    /// A product of the vector that a text's hidden states become; the layer is its number.
    PooledDense,
    /// The product that narrows the stream for experts that read fewer elements than it has.
    ExpertsIn,
    /// The product that widens the sum of such experts.
    ExpertsOut,
    /// Divisors of the rotation's frequencies in texts of all lengths.
    RopeDivisors,
    /// Divisors of the rotation's frequencies in short texts.
    RopeShort,
    /// Divisors of the rotation's frequencies in long texts.
    RopeLong,
}
