//! The stories: one folder each under `tests/stories`.

use crate::script::check;

macro_rules! stories {
    ($($name:ident),+ $(,)?) => { $(#[test] fn $name() { check(stringify!($name)); })+

        /// A folder that nothing runs proves nothing.
        #[test]
        fn every_folder_is_run() {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
            let run = [$(stringify!($name)),+];
            for entry in std::fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(run.contains(&name.as_str()), "tests/stories/{name} is not run: name it in stories.rs");
            }
        }
    };
}

stories! {
    address_space,
    adopt,
    contested_field,
    domain_on_a_finished_app,
    drift_policies,
    env_change,
    first_create,
    foreign_child_in_the_way,
    held,
    image_missing,
    itself,
    lost_store,
    missing_project,
    missing_secret,
    move_of_environment,
    not_owned,
    older_vault,
    one_field_changed,
    own_project,
    pull,
    restart,
    quarantined,
    removed_app,
    removed_stack,
    rename,
    unanswered_create,
}
