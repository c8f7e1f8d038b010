// eval/report_facts.h: how results were made: machine, program, problems, sampling, models, and the
// settings of every run.
//
// Owns their words and their order. What is not known is left out. Not here: who finds them out:
// the verb (cli/verb_eval.cc) puts "measured", "shape" and "suite" into the results, a run's folder
// holds its configuration.
#pragma once

#include <string>
#include <vector>

#include "eval/report.h"

namespace dure {

struct Fact {
  std::string name, value;
  bool operator==(const Fact&) const = default;
};
struct FactGroup {
  std::string title;
  std::vector<Fact> facts;
};

std::vector<FactGroup> report_facts(const ReportInput& input);

std::string facts_html(const ReportInput& input);
std::string facts_markdown(const ReportInput& input);

}  // namespace dure
