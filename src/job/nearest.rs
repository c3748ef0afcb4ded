//! The nearest of the words that would have been right.

/// The member of `known` that `typed` most likely stands for; `None` where none is near enough to be worth saying.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    known
        .into_iter()
        .map(|word| {
            (
                distance(&typed, word),
                strsim::osa_distance(&typed, word),
                word,
            )
        })
        .min_by_key(|&(distance, n_edits, _)| (distance, n_edits))
        .filter(|&(distance, _, word)| {
            distance * 3 <= typed.chars().count().max(word.chars().count())
        })
        .map(|(_, _, word)| word)
}

fn distance(typed: &str, word: &str) -> usize {
    // Half-remembered words, "iter" for "max_iter", are far by edits and near by sense.
    let contained =
        typed.len().min(word.len()) >= 4 && (word.contains(typed) || typed.contains(word));
    if contained {
        1
    } else {
        strsim::osa_distance(typed, word)
    }
}

/// Words in double quotes, of which one is to be chosen.
pub(super) fn quoted_choice(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => {
            format!("{} or \"{last}\"", quoted_list(rest.iter().copied()))
        }
        words => quoted_list(words.iter().copied()),
    }
}

/// Words in double quotes, joined by commas.
pub(super) fn quoted_list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words
        .into_iter()
        .map(|word| format!("\"{word}\""))
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 9] = [
        "k",
        "algorithm",
        "init",
        "n_init",
        "max_iter",
        "batch_size",
        "tol",
        "from",
        "of",
    ];

    #[test]
    fn slips_and_half_remembered_words_are_recognised() {
        for (typed, meant) in [
            ("algoritm", "algorithm"),
            ("n-init", "n_init"),
            ("K", "k"),
            ("max_iters", "max_iter"),
            ("iter", "max_iter"),
            ("batchsize", "batch_size"),
            ("batch", "batch_size"),
        ] {
            assert_eq!(nearest(typed, KEYS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn nothing_is_suggested_for_words_that_are_far_from_all() {
        for typed in ["x", "clusters", "epochs", ""] {
            assert_eq!(nearest(typed, KEYS), None, "{typed}");
        }
    }
}
