//! Why a UI workflow does not convert.

/// A UI workflow that cannot be flattened into an API workflow. Each names the node, link or
/// subgraph, by the path of ids that leads to it (`12:3` is node 3 inside instance 12).
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The file does not have the editor's shape.
    #[error("{at}: expected {expected}, found {found}")]
    Shape {
        /// Where, such as `nodes[3]`.
        at: String,
        /// What should stand there.
        expected: &'static str,
        /// What does.
        found: &'static str,
    },
    /// Two nodes of one graph share an id.
    #[error("node id {id} occurs twice in {graph}: links to it are ambiguous; give one another id")]
    DuplicateNode {
        /// The id.
        id: String,
        /// The graph's name.
        graph: String,
    },
    /// Two subgraph definitions share an id.
    #[error("two subgraph definitions have the id `{id}`")]
    DuplicateSubgraph {
        /// The id.
        id: String,
    },
    /// A subgraph that contains itself, directly or through others.
    #[error("subgraph `{name}` contains itself (instance {path}): it has no end")]
    RecursiveSubgraph {
        /// The subgraph's name.
        name: String,
        /// The instance that closes the circle.
        path: String,
    },
    /// Subgraphs in subgraphs beyond the limit.
    #[error("subgraphs are nested {limit} deep at instance {path}; the limit is {limit}")]
    TooDeep {
        /// The instance.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// More nodes than the limit once subgraphs are expanded.
    #[error("the workflow has more than {limit} nodes when its subgraphs are expanded")]
    TooManyNodes {
        /// The limit.
        limit: usize,
    },
    /// Links that lead through reroutes or bypassed nodes back to where they began.
    #[error("the links through node {path} go round in a circle without reaching a node that computes")]
    LinkCycle {
        /// A node on the circle.
        path: String,
    },
    /// Links that would take longer to follow than any real workflow does.
    #[error("following the links takes more than {limit} steps; the chains of reroutes are too long")]
    LinksTooLong {
        /// The limit.
        limit: usize,
    },
    /// More text than the limit once subgraphs are expanded.
    #[error("the workflow's values take more than {limit} bytes when its subgraphs are expanded")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}
