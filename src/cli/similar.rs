//! What a person may have meant.

/// The word that is closest to another, if any is close.
pub(super) fn closest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let scored = among.into_iter().map(|candidate| {
        let other = candidate.to_lowercase();
        // A part of the name is as good as a small mistake, and the better the less is missing. The name itself in
        // other letters is what was meant.
        let part = lower.len() >= 4 && other.contains(&lower);
        let share = lower.len() as f64 / other.len().max(1) as f64;
        (if part { 0.9 + 0.1 * share } else { strsim::jaro_winkler(&lower, &other) }, candidate)
    });
    scored
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `x`?", or nothing.
pub(super) fn hint<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, among).map(|close| format!("; did you mean `{close}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_offered() {
        let nodes = ["KSamplerSelect", "KSampler", "KSamplerAdvanced", "SaveImage"];
        assert_eq!(closest("ksampler", nodes), Some("KSampler"));
        assert_eq!(closest("KSamplr", nodes), Some("KSampler"));
        assert_eq!(closest("advanced", nodes), Some("KSamplerAdvanced"));
        assert_eq!(closest("SaveImgae", nodes), Some("SaveImage"));
        assert_eq!(closest("Rotate", nodes), None);
        assert_eq!(hint("x", nodes), "");
    }
}
