//! How inboxes and their folders fit together.

use super::*;

#[test]
fn default_folders_lie_inside_a_mount_point_and_inside_an_inbox_whose_parent_is_closed() {
    let inside = |path: &str| {
        let config = good(&format!("inboxes: [{{ path: {path} }}]"));
        config.inboxes[0].folders.outbox.clone()
    };
    assert_eq!(inside("/srv/a/inbox"), Path::new("/srv/a/outbox"));
    assert_eq!(inside("/data/inbox"), Path::new("/data/inbox/_outbox"));
    assert_eq!(inside("/mnt/nas"), Path::new("/mnt/nas/_outbox"));
    assert_eq!(inside("/mnt/nas/inbox"), Path::new("/mnt/nas/outbox"));
    assert_eq!(inside("/ro/inbox"), Path::new("/ro/inbox/_outbox"));
}

#[test]
fn a_share_that_is_planned_and_not_mounted_yet_is_a_mount_point_all_the_same() {
    let config = good("inboxes: [{ path: /mnt/planned }]");
    assert_eq!(
        config.inboxes[0].folders.working,
        Path::new("/mnt/planned/_working")
    );
}

#[test]
fn overlapping_folders_are_refused_and_both_are_named() {
    one(
        "inboxes:\n- path: /srv/a\n- { path: /srv/a/b }\n",
        3,
        11,
        &["`b` (/srv/a/b) is inside", "`a` (/srv/a)"],
    );
    one(
        "inboxes:\n- path: /srv/a/b\n- { path: /srv/a }\n",
        3,
        11,
        &["the inbox `b`", "is inside the inbox `a`"],
    );
    one(
        "inboxes:\n- path: /srv/in\n  outbox: /srv/in/out\n",
        3,
        11,
        &["`outbox` of the inbox `in`", "`_`"],
    );
    one(
        "inboxes:\n- path: /srv/in\n  outbox: /srv/in/../in/.\n",
        3,
        11,
        &["are the same folder"],
    );
    one(
        "inboxes:\n- path: /srv/in\n  outbox: /link/in/out\n",
        3,
        11,
        &["(/link/in/out) is inside the inbox"],
    );
    one(
        "inboxes:\n- path: /srv/x/in\n  failed: /srv/x\n",
        3,
        11,
        &["the inbox `in`", "is inside `failed`"],
    );
    one(
        "inboxes:\n- path: /srv/in\n  outbox: /o\n  failed: /o\n",
        4,
        11,
        &["`failed`", "`outbox`", "same folder"],
    );
    one(
        "state_dir: /srv/in/state\ninboxes:\n- path: /srv/in\n",
        1,
        12,
        &["`state_dir`", "is inside the inbox"],
    );
    one(
        "inboxes:\n- path: /etc/taxiway\n  name: e\n  working: /w/w\n  outbox: /w/o\n  originals: /w/r\n  failed: /w/f\nstate_dir: /s\n",
        2,
        9,
        &["the configuration is in"],
    );
}

#[test]
fn inboxes_side_by_side_need_working_folders_of_their_own() {
    one(
        "inboxes:\n- path: /srv/a\n- path: /srv/b\n",
        3,
        9,
        &["`working` of the inbox `b` (/srv/working)", "same folder"],
    );
    good("inboxes:\n- path: /srv/a\n- path: /srv/b\n  working: /srv/working-b\n");
    good("inboxes:\n- path: /srv/a/inbox\n- { path: /srv/b/inbox, name: b }\n");
}

#[test]
fn a_folder_may_lie_inside_an_inbox_below_a_name_with_an_underscore() {
    good("inboxes:\n- path: /srv/in\n  outbox: /srv/in/_out/x\n  working: /srv/in/sub/_w\n");
}

#[test]
fn a_working_folder_on_another_filesystem_is_refused() {
    one(
        "inboxes:\n- path: /mnt/nas/inbox\n  working: /var/w\n",
        3,
        12,
        &["another filesystem", "/mnt/nas", "`_working`"],
    );
    one(
        "inboxes:\n- path: /data/inbox\n  working: /data/working\n",
        3,
        12,
        &["another filesystem"],
    );
    good("inboxes:\n- path: /mnt/nas/inbox\n  outbox: /var/out\n");
}

#[test]
fn two_inboxes_of_one_name_are_refused() {
    one(
        "inboxes:\n- path: /a/inbox\n- path: /b/inbox\n",
        3,
        9,
        &[
            "two inboxes are called `inbox`",
            "/a/inbox",
            "another `name`",
        ],
    );
    one(
        "inboxes:\n- path: /a/x\n- path: /b/y\n  name: x\n",
        4,
        9,
        &["two inboxes"],
    );
}
