// suite/rivals.h: published scores of other models, as data with their source.
//
// Owns the tables that ship (src/suite/rivals/*.yaml). Scores are percents as they were published,
// without intervals. Not here: comparing (eval/suite_results.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace dure {

struct RivalTable {
  std::string name, title, date, source;
  std::vector<std::string> models;
  struct Row {
    std::string task;                      // of a task's name
    std::string title;                     // as it was published
    std::map<std::string, double> scores;  // by model; a missing one was not published
  };
  std::vector<Row> rows;
  const Row* find(const std::string& task) const;
};

// Throws kNotFound with those there are; kInvalidArgument naming the field.
RivalTable load_rivals(const std::string& name);
RivalTable rivals_from_json(const Json& json, const std::string& where);

}  // namespace dure
