// suite/shipped.h: the suites, tasks, tables of rivals and own items that lie in the program.
//
// Made by cmake/suites.cmake from src/suite/{suites,tasks,rivals,items}. Not here: what they mean
// (suite.h, task_spec.h, rivals.h).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

struct ShippedFile {
  std::string_view name;  // "suites/quick.yaml"
  std::string_view text;
};

std::span<const ShippedFile> shipped_files();

// Text of KIND/NAME (an extension may be left out); nullptr where there is none.
const ShippedFile* find_shipped(std::string_view kind, std::string_view name);
// Of a kind ("suites", "tasks", "rivals"), without folder and extension, in order.
std::vector<std::string> shipped_names(std::string_view kind);

}  // namespace dure
