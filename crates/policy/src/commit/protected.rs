//! Names behind which the host's programs find something to execute: hooks, pipelines, settings of editors and shells.

use super::{Now, Proposal, Tree, fold};

/// Wherever in the tree, as folded words; a last `**` stands for everything below, and the directory itself.
const PROTECTED: &[&str] = &[
    // Git, beside what is in its directories.
    ".gitattributes",
    ".gitconfig",
    ".gitmodules",
    ".githooks/**",
    ".husky/**",
    ".lefthook/**",
    ".lefthook.yml",
    "lefthook.yml",
    ".pre-commit-config.yaml",
    ".pre-commit-hooks.yaml",
    // Pipelines.
    ".github/workflows/**",
    ".github/actions/**",
    ".gitea/workflows/**",
    ".forgejo/workflows/**",
    ".gitlab-ci.yml",
    ".gitlab-ci.yaml",
    ".gitlab/ci/**",
    ".circleci/**",
    ".buildkite/**",
    ".woodpecker/**",
    ".woodpecker.yml",
    ".woodpecker.yaml",
    ".azure-pipelines/**",
    "azure-pipelines.yml",
    "azure-pipelines.yaml",
    "bitbucket-pipelines.yml",
    ".travis.yml",
    ".drone.yml",
    ".cirrus.yml",
    ".appveyor.yml",
    "appveyor.yml",
    ".semaphore/**",
    ".teamcity/**",
    ".tekton/**",
    "cloudbuild.yaml",
    "cloudbuild.yml",
    "jenkinsfile",
    // Editors, and the agents in them.
    ".vscode/**",
    ".idea/**",
    ".fleet/**",
    ".zed/**",
    ".vs/**",
    ".devcontainer/**",
    ".devcontainer.json",
    ".vim/**",
    ".vimrc",
    ".exrc",
    ".nvimrc",
    ".nvim.lua",
    ".lvimrc",
    ".dir-locals.el",
    ".dir-locals-2.el",
    ".cursor/**",
    ".claude/**",
    ".mcp.json",
    // Shells and what they read when a directory is entered.
    ".envrc",
    ".direnv/**",
    ".mise.toml",
    "mise.toml",
    ".tool-versions",
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".ssh/**",
    // Package managers that execute what these name.
    ".cargo/**",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".yarn/**",
    ".pnpmfile.cjs",
];

/// What git itself changes in its directory while it does what a person would expect of an agent.
const GIT_FILES: &[&str] = &[
    "head",
    "orig_head",
    "fetch_head",
    "merge_head",
    "merge_msg",
    "merge_mode",
    "cherry_pick_head",
    "revert_head",
    "auto_merge",
    "squash_msg",
    "commit_editmsg",
    "index",
    "packed-refs",
    "shallow",
];

/// Names in a git directory that say what is executed, or that another directory is meant.
const GIT_STEERS: &[&str] =
    &["hooks", "config", "config.worktree", "commondir", "gitdir", "worktrees", "info", "modules"];

/// The protected name that `change` touches, if it does.
pub(super) fn protected(change: &Proposal<'_>, tree: &impl Tree) -> Option<String> {
    let words = fold::words(change.path);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let directory = change.now == Now::Directory;
    let named = (0..words.len())
        .find_map(|from| PROTECTED.iter().find(|pattern| touches(pattern, &words[from..], directory)));
    if let Some(pattern) = named {
        return Some((*pattern).to_owned());
    }
    let mut inside_git = false;
    for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == ".git") {
        inside_git = true;
        if !permitted_in_git(&words[at + 1..], directory) {
            return Some([&[".git"], &words[at + 1..]].concat().join("/"));
        }
    }
    if inside_git { None } else { bare(change, &words, tree) }
}

/// Whether `words`, from their first on, is what the pattern protects: that, what is below it, or something in the
/// place of a directory that leads to it.
fn touches(pattern: &str, words: &[&str], directory: bool) -> bool {
    let (named, below) = match pattern.strip_suffix("/**") {
        Some(named) => (named, true),
        None => (pattern, false),
    };
    let mut count = 0;
    for name in named.split('/') {
        match words.get(count) {
            Some(word) if *word == name => count += 1,
            // A link or a file where a directory would lead to the protected name.
            None => return count > 0 && !directory,
            Some(_) => return false,
        }
    }
    below || words.len() == count
}

/// Whether `rest`, beneath a directory `.git`, is of those that hold nothing but history.
fn permitted_in_git(rest: &[&str], directory: bool) -> bool {
    let tree = |rest: &[&str]| rest.len() > 1 || directory;
    match rest {
        [] => directory,
        ["objects", "info", file, ..] => !file.contains("alternates"),
        ["objects" | "refs" | "logs", ..] => tree(rest),
        ["modules", below @ ..] => {
            let steers = |at: usize| match below[at] {
                "info" => at == 0 || below[at - 1] != "objects",
                word => GIT_STEERS.contains(&word) || word.starts_with("rebase-") || word == "sequencer",
            };
            let alternates = below.iter().any(|word| word.contains("alternates"));
            tree(rest) && !alternates && !(0..below.len()).any(steers)
        }
        [file] => GIT_FILES.contains(file) && !directory,
        _ => false,
    }
}

/// A git directory under another name is one, too: git knows it by its `HEAD`.
fn bare(change: &Proposal<'_>, words: &[&str], tree: &impl Tree) -> Option<String> {
    if change.was.is_none() && words.last() == Some(&"head") && change.now != Now::Directory {
        return Some("HEAD of a git directory".to_owned());
    }
    let names: Vec<&[u8]> = change.path.split(|byte| *byte == b'/').collect();
    // Folding may have cut a name in two; then there is nothing to compare, and such a name is not in a git directory.
    let steering = (0..names.len().min(words.len())).find(|at| {
        let head = [names[..*at].join(&b'/').as_slice(), b"HEAD"].join(&b"/"[..]);
        let head = head.strip_prefix(b"/").unwrap_or(&head);
        GIT_STEERS.contains(&words[*at]) && tree.has(head)
    })?;
    Some(format!("{} of a git directory", words[steering]))
}
