//! Which files of a folder belong together. Pure: names in, groups out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::files::names::stem;
use crate::sidecar::names::{Class, classify, extension, nfc_key};

/// Files of one folder that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// A sidecar, with its medium if there is one.
    Sidecar {
        /// The sidecar.
        sidecar: OsString,
        /// The medium.
        main: Option<OsString>,
        /// Whether the sidecar's name contains the medium's whole name (`cat.jpg.yaml`), so that it can be for nothing else.
        exact: bool,
    },
    /// A medium without a sidecar.
    Alone {
        /// The medium.
        main: OsString,
    },
    /// Several media that one sidecar could be for.
    Clash {
        /// The sidecar.
        sidecar: OsString,
        /// The media.
        media: Vec<OsString>,
    },
    /// A second sidecar for the same medium, which is not used.
    Spare {
        /// The sidecar that is not used.
        sidecar: OsString,
        /// The one that is.
        used: OsString,
    },
    /// A file that is neither medium nor sidecar.
    Other {
        /// The file.
        name: OsString,
    },
}

/// Sorts the files of one folder into groups.
///
/// `named` contains the files of this folder that a sidecar refers to: they belong to its job and are no jobs of their own, unless
/// there is a sidecar of exactly their name.
pub fn pair<'a>(
    names: impl IntoIterator<Item = &'a OsStr>,
    named: &BTreeSet<Vec<u8>>,
) -> Vec<Group> {
    let mut media: BTreeMap<Vec<u8>, Vec<&OsStr>> = BTreeMap::new();
    let mut sidecars: BTreeMap<Vec<u8>, Vec<&OsStr>> = BTreeMap::new();
    let mut groups = Vec::new();
    for name in names {
        match classify(name) {
            Class::Medium(_) => {
                media.entry(nfc_key(name)).or_default().push(name);
            }
            Class::Sidecar => sidecars.entry(nfc_key(stem(name))).or_default().push(name),
            Class::Other if named.contains(&nfc_key(name)) => {}
            Class::Other => groups.push(Group::Other {
                name: name.to_owned(),
            }),
        }
    }

    let mut used = choose_sidecars(sidecars, &mut groups);
    let mut free: Vec<(&Vec<u8>, &OsStr)> = Vec::new();
    for (key, names) in &media {
        // On Linux, two names in one folder may differ only in their Unicode form.
        match (used.remove(key), names.as_slice()) {
            (Some(sidecar), [name]) => groups.push(Group::Sidecar {
                sidecar: sidecar.to_owned(),
                main: Some((*name).to_owned()),
                exact: true,
            }),
            (Some(sidecar), several) => groups.push(Group::Clash {
                sidecar: sidecar.to_owned(),
                media: several.iter().map(|name| (*name).to_owned()).collect(),
            }),
            (None, several) => free.extend(several.iter().map(|name| (key, *name))),
        }
    }
    let mut by_stem: BTreeMap<Vec<u8>, Vec<&OsStr>> = BTreeMap::new();
    for (key, name) in free {
        if !named.contains(key) {
            by_stem.entry(nfc_key(stem(name))).or_default().push(name);
        }
    }
    for (key, sidecar) in used {
        let exact = matches!(classify(OsStr::from_bytes(&key)), Class::Medium(_));
        let sidecar = sidecar.to_owned();
        match by_stem.remove(&key).as_deref() {
            None | Some([]) => groups.push(Group::Sidecar {
                sidecar,
                main: None,
                exact,
            }),
            Some([main]) => groups.push(Group::Sidecar {
                sidecar,
                main: Some((*main).to_owned()),
                exact: false,
            }),
            Some(several) => groups.push(Group::Clash {
                sidecar,
                media: several.iter().map(|name| (*name).to_owned()).collect(),
            }),
        }
    }
    for names in by_stem.into_values() {
        groups.extend(names.into_iter().map(|main| Group::Alone {
            main: main.to_owned(),
        }));
    }
    groups
}

/// One sidecar for each name, `.yaml` before `.yml`; the others become [`Group::Spare`].
fn choose_sidecars<'a>(
    sidecars: BTreeMap<Vec<u8>, Vec<&'a OsStr>>,
    groups: &mut Vec<Group>,
) -> BTreeMap<Vec<u8>, &'a OsStr> {
    let mut used = BTreeMap::new();
    for (key, mut candidates) in sidecars {
        candidates.sort_by_key(|name| (extension(name) != Some("yaml".into()), name.to_owned()));
        let mut candidates = candidates.into_iter();
        let Some(first) = candidates.next() else {
            continue;
        };
        groups.extend(candidates.map(|spare| Group::Spare {
            sidecar: spare.to_owned(),
            used: first.to_owned(),
        }));
        used.insert(key, first);
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn groups(names: &[&str], named: &[&str]) -> Vec<Group> {
        let named = named.iter().map(|n| nfc_key(OsStr::new(n))).collect();
        pair(names.iter().map(OsStr::new), &named)
    }

    fn paired(sidecar: &str, main: Option<&str>, exact: bool) -> Group {
        Group::Sidecar {
            sidecar: sidecar.into(),
            main: main.map(Into::into),
            exact,
        }
    }

    #[test]
    fn the_sidecar_of_the_whole_name_goes_before_the_one_of_the_stem() {
        assert_eq!(
            groups(&["cat.jpg", "cat.jpg.yaml", "cat.yaml"], &[]),
            vec![
                paired("cat.jpg.yaml", Some("cat.jpg"), true),
                paired("cat.yaml", None, false)
            ]
        );
        assert_eq!(
            groups(&["cat.jpg", "cat.yml"], &[]),
            vec![paired("cat.yml", Some("cat.jpg"), false)]
        );
    }

    #[test]
    fn two_media_for_one_sidecar_clash_unless_one_has_its_own_or_is_named() {
        assert_eq!(
            groups(&["cat.jpg", "cat.mp4", "cat.yaml"], &[]),
            vec![Group::Clash {
                sidecar: "cat.yaml".into(),
                media: vec!["cat.jpg".into(), "cat.mp4".into()]
            }]
        );
        assert_eq!(
            groups(&["cat.jpg", "cat.mp4", "cat.yaml"], &["cat.mp4"]),
            vec![paired("cat.yaml", Some("cat.jpg"), false)]
        );
        assert_eq!(
            groups(&["cat.jpg", "cat.mp4", "cat.mp4.yaml", "cat.yaml"], &[]),
            vec![
                paired("cat.mp4.yaml", Some("cat.mp4"), true),
                paired("cat.yaml", Some("cat.jpg"), false)
            ]
        );
    }

    #[test]
    fn a_sidecar_waits_alone_for_a_medium_of_its_name() {
        assert_eq!(
            groups(&["cat.jpg.yaml"], &[]),
            vec![paired("cat.jpg.yaml", None, true)]
        );
        assert_eq!(
            groups(&["storm.yaml"], &[]),
            vec![paired("storm.yaml", None, false)]
        );
    }

    #[test]
    fn row_15_accents_match_in_both_unicode_forms_and_the_bytes_stay() {
        let (composed, decomposed) = ("caf\u{e9}.jpg", "cafe\u{301}.jpg.yaml");
        assert_eq!(
            groups(&[composed, decomposed], &[]),
            vec![paired(decomposed, Some(composed), true)]
        );
    }

    #[test]
    fn a_named_medium_is_no_job_of_its_own() {
        assert_eq!(groups(&["ref.png"], &["ref.png"]), vec![]);
        assert_eq!(
            groups(&["a.yaml", "a.yml"], &[]),
            vec![
                Group::Spare {
                    sidecar: "a.yml".into(),
                    used: "a.yaml".into()
                },
                paired("a.yaml", None, false)
            ]
        );
    }

    proptest! {
        /// Every file of a folder is in exactly one group: none is forgotten, none is used twice.
        #[test]
        fn no_file_is_forgotten_or_used_twice(names in prop::collection::btree_set(
            "(cat|dog|a b|\u{e9}|e\u{301})(\\.(jpg|mp4|wav|txt|png))?(\\.(yaml|yml))?", 0..12)) {
            let mut seen = Vec::new();
            for group in groups(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]) {
                match group {
                    Group::Sidecar { sidecar, main, .. } => { seen.push(sidecar); seen.extend(main); }
                    Group::Alone { main } => seen.push(main),
                    Group::Clash { sidecar, media } => { seen.push(sidecar); seen.extend(media); }
                    Group::Spare { sidecar, .. } => seen.push(sidecar),
                    Group::Other { name } => seen.push(name),
                }
            }
            let unique: BTreeSet<_> = seen.iter().cloned().collect();
            prop_assert_eq!(unique.len(), seen.len());
            prop_assert_eq!(seen.len(), names.len());
        }
    }
}
