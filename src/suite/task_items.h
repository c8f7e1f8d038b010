// suite/task_items.h: the items of a task, and what grades them.
//
// Owns the way from a row to an item: templates filled, choices lettered and shuffled, rows joined.
// The same files give the same items with the same ids, in the same order. Not here: finding and
// reading files (data_files.h, row_reader.h), items made by the program (generated_items.h).
#pragma once

#include <memory>
#include <vector>

#include "grade/episode.h"
#include "grade/graders.h"
#include "grade/item.h"
#include "suite/data_files.h"
#include "suite/task_spec.h"

namespace dure {

// Templates see the row's fields, and: `row` (all of it), `row_number` (from 1), `file_group`,
// `shots`-like files by their names; with choices: `choices` (list of {label, text}), `labels`,
// `right_label`, `right_index`, `right_text`, `options_text` ("A. first\nB. second").
// Throws kNotFound with missing_text(); kInvalidArgument, kCorrupt naming the task and the row: a
// field that is not there, a template that fails, an id that comes twice.
std::vector<Item> task_items(const TaskSpec& task, const DataFolders& folders);

// Every `count`-th part: so many items, evenly spaced over all; all of them where count is 0.
std::vector<Item> spaced_items(std::vector<Item> items, int64_t count);

// standard_graders() and those of this folder: `drill`, `needles`.
GraderTable suite_graders();
// Why the program cannot measure a task, whatever files there are; empty where it can.
std::string unsupported_text(const TaskSpec& task);
// Whether a model plays the user (GraderWorld::ask_user).
bool has_simulated_user(const TaskSpec& task);
// What the grades of such a task depend on beside its items: who plays the user, hashes of the files
// beside. Null of other tasks.
Json environment_facts(const TaskSpec& task, const DataFolders& folders, const GraderWorld& world);
// Of a task: its environment, or its grader as one of a single turn. Throws as make_grader().
std::unique_ptr<Environment> task_environment(const TaskSpec& task, const DataFolders& folders,
                                              const GraderWorld& world);

}  // namespace dure
