//! `[[cluster]]`: from the tables to the clusterings that they ask for.

use super::check::{DEFAULT_MAX_ITER, MAX_WORDS};
use super::file::{ClusterTable, Wholes};
use super::value::{MAX_WHOLE, choose, in_range, whole};
use super::{ClusterOf, Clustering, Clusters, Job};
use crate::error::{Error, Result};
use crate::kernel::kmeans::{Algorithm, DEFAULT_TOL, Init, KMeansParams};

/// `cluster.n_init` of a job that does not say: the notebook's.
const DEFAULT_N_INIT: u64 = 10;
/// Clusterings of one job at most: each is a pass over all images, and a file.
const MAX_CLUSTERINGS: usize = 1000;

impl ClusterOf {
    /// Both.
    pub const ALL: [ClusterOf; 2] = [ClusterOf::Pixels, ClusterOf::Features];

    /// Its name in job files, manifests and names of files.
    pub fn name(self) -> &'static str {
        match self {
            ClusterOf::Pixels => "pixels",
            ClusterOf::Features => "features",
        }
    }
}

impl Clustering {
    /// Name of its files, without an ending; no other clustering of the job has the same.
    pub fn name(&self) -> String {
        format!("{}-k{}", self.of.name(), self.params.k)
    }
}

impl Job {
    /// Every clustering that the job asks for, in its order.
    pub fn clusterings(&self) -> Vec<Clustering> {
        let one = |clusters: &Clusters, k: usize| Clustering {
            of: clusters.of,
            params: KMeansParams {
                spherical: false,
                k,
                algorithm: clusters.algorithm,
                init: Init::PlusPlus,
                n_init: clusters.n_init,
                max_iter: clusters.max_iter,
                batch_size: None,
                tol: DEFAULT_TOL,
                seed: self.run.seed,
            },
        };
        self.clusters
            .iter()
            .flat_map(|clusters| clusters.k.iter().map(move |&k| one(clusters, k)))
            .collect()
    }
}

/// Proves that the tables can be asked for together.
pub(super) fn check_clusters(tables: &[ClusterTable]) -> Result<Vec<Clusters>> {
    let mut checked: Vec<Clusters> = Vec::with_capacity(tables.len());
    for table in tables {
        let clusters = check_table(table)?;
        for (i, &k) in clusters.k.iter().enumerate() {
            let is_same = |other: &Clusters| other.of == clusters.of && other.k.contains(&k);
            if clusters.k[..i].contains(&k) || checked.iter().any(is_same) {
                return Err(Error::setting(
                    "cluster.k",
                    format!("{k} clusters of {} are asked for twice", clusters.of.name()),
                    "name each k once for pixels and once for features",
                ));
            }
        }
        checked.push(clusters);
    }
    if checked
        .iter()
        .map(|clusters| clusters.k.len())
        .sum::<usize>()
        > MAX_CLUSTERINGS
    {
        return Err(Error::setting(
            "cluster.k",
            format!("more than {MAX_CLUSTERINGS} clusterings are asked for"),
            "ask for fewer numbers of clusters",
        ));
    }
    Ok(checked)
}

fn check_table(table: &ClusterTable) -> Result<Clusters> {
    let names = ClusterOf::ALL.map(|of| (of.name(), of));
    let of = table.of.as_deref().ok_or_else(|| {
        let help = "say what is clustered: of = \"pixels\" or of = \"features\"";
        Error::setting("cluster.of", "missing", help)
    })?;
    Ok(Clusters {
        of: choose("cluster.of", of, &names, &[])?,
        k: check_k(table.k.as_ref())?,
        algorithm: match table.algorithm.as_deref() {
            None => Algorithm::Lloyd,
            Some(name) => choose(
                "cluster.algorithm",
                name,
                &[Algorithm::Lloyd, Algorithm::MiniBatch].map(|known| (known.name(), known)),
                &[],
            )?,
        },
        n_init: whole("cluster.n_init", table.n_init, DEFAULT_N_INIT, 1, MAX_WHOLE)? as usize,
        max_iter: whole(
            "cluster.max_iter",
            table.max_iter,
            DEFAULT_MAX_ITER,
            1,
            MAX_WHOLE,
        )? as usize,
    })
}

fn check_k(k: Option<&Wholes>) -> Result<Vec<usize>> {
    const KEY: &str = "cluster.k";
    let numbers = match k {
        Some(Wholes::One(k)) => std::slice::from_ref(k),
        Some(Wholes::Many(numbers)) => numbers.as_slice(),
        None => &[],
    };
    if numbers.is_empty() {
        let help = "give the number of clusters, or a list of them: k = [10, 20]";
        return Err(Error::setting(KEY, "missing", help));
    }
    numbers
        .iter()
        .map(|&k| in_range(KEY, k, 1, MAX_WORDS).map(|k| k as usize))
        .collect()
}
