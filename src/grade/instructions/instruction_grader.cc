// Eight readings of an answer, each instruction asked of them until one follows.
#include "grade/instructions/instruction_grader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "grade/instructions/instruction.h"
#include "grade/instructions/pattern.h"
#include "text/unicode.h"

namespace dure {
namespace {

using instructions::Arguments;
using instructions::CannotTell;
using instructions::CharsView;
using instructions::Check;
using instructions::Kinds;
using instructions::Text;
using instructions::TooCostly;
using instructions::Verdict;

struct InstructionOptions {
  Reading score = Reading::kStrict;
  template <typename V>
  void visit(V& v) {
    v("score", score, "whether the answer must follow as it is, or in one of eight readings");
  }
};

// The answer first, so that it is also the strict reading.
std::vector<Text> readings_of(const Text& answer) {
  const CharsView all = answer.chars;
  const size_t first = all.find(U'\n'), last = all.rfind(U'\n');
  const CharsView no_first = first == all.npos ? CharsView() : all.substr(first + 1);
  const CharsView no_last = last == all.npos ? CharsView() : all.substr(0, last);
  const CharsView neither = first < last ? all.substr(first + 1, last - first - 1) : CharsView();
  std::vector<Text> out = {answer};
  for (const CharsView part : {no_first, no_last, neither})
    out.emplace_back(instructions::strip(part));
  for (size_t i = 0; i < 4; ++i)
    out.emplace_back(CharsView(instructions::replaced(out[i].chars, U"*", U"")));
  return out;
}

Verdict followed(const Check& check, const Text& text) {
  if (instructions::strip(text.chars).empty()) return Verdict::no("an empty answer");
  return check(text);
}

using Checks = std::vector<std::pair<std::string, Check>>;

Checks checks_of(const Kinds& kinds, const Item& item) {
  const std::string where = "item " + item.id + ": reference";
  const Json* ids = item.reference.find("instruction_id_list");
  const Json* kwargs = item.reference.find("kwargs");
  if (ids == nullptr || kwargs == nullptr || !ids->is_array() || !kwargs->is_array() ||
      ids->size() != kwargs->size() || ids->size() == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{} must have \"instruction_id_list\" and \"kwargs\", lists of the same length", where);
  }
  Checks checks;
  for (size_t i = 0; i < ids->size(); ++i) {
    const std::string& id = ids->at(i).as_string(where + ": instruction_id_list");
    const auto kind = kinds.find(id);
    if (kind == kinds.end())
      fail(ErrorCode::kInvalidArgument, "{}: there is no kind of instruction \"{}\"", where, id);
    checks.emplace_back(id, kind->second(Arguments(kwargs->at(i), where + ": " + id)));
  }
  return checks;
}

InstructionJudgement judge(const std::string& id, const Check& check,
                           const std::vector<Text>& readings) {
  Verdict strict = followed(check, readings[0]);
  const bool loose = strict.followed ||
                     std::any_of(readings.begin() + 1, readings.end(),
                                 [&](const Text& text) { return followed(check, text).followed; });
  return {id, strict.followed, loose, std::move(strict.why)};
}

Json parts_of(const std::vector<InstructionJudgement>& judged) {
  double strict = 0, loose = 0;
  for (const InstructionJudgement& one : judged) {
    strict += one.strict;
    loose += one.loose;
  }
  const auto count = static_cast<double>(judged.size());
  Json out = Json::object();
  out["strict_prompt"] = strict == count ? 1 : 0;
  out["loose_prompt"] = loose == count ? 1 : 0;
  out["instructions"] = static_cast<int64_t>(judged.size());
  out["strict_instructions"] = strict / count;
  out["loose_instructions"] = loose / count;
  return out;
}

const Kinds& kinds_of(InstructionSet set) {
  return set == InstructionSet::kIfeval ? instructions::ifeval_kinds()
                                        : instructions::ifbench_kinds();
}

class InstructionGrader : public Grader {
 public:
  InstructionGrader(InstructionSet set, const InstructionOptions& options)
      : set_(set), options_(options) {}

  void check(const Item& item) const override { checks_of(kinds_of(set_), item); }

  Grade grade(const Item& item, const Answer& answer) const override {
    std::string why;
    const auto judged = judge_instructions(set_, item, answer.content, why);
    return judged ? grade_of(*judged) : Grade::unknown("", why);
  }

 private:
  Grade grade_of(const std::vector<InstructionJudgement>& judged) const {
    Grade grade;
    std::string missed;
    size_t followed = 0;
    for (const InstructionJudgement& one : judged) {
      const bool yes = options_.score == Reading::kStrict ? one.strict : one.loose;
      followed += yes ? 1 : 0;
      if (!yes) missed += (missed.empty() ? "; not: " : "; ") + one.id + " (" + one.why + ")";
    }
    grade.score = followed == judged.size() ? 1.0 : 0.0;
    grade.reason = fmt::format("{} of {} followed{}", followed, judged.size(), missed);
    grade.parts = parts_of(judged);
    return grade;
  }

  InstructionSet set_;
  InstructionOptions options_;
};

GraderMaker maker(InstructionSet set, Reading score) {
  return [set, score](const Json& given, const GraderWorld&, const std::string& where) {
    InstructionOptions options{.score = score};
    if (!given.is_null()) from_json(options, given, where);
    return std::make_unique<InstructionGrader>(set, options);
  };
}

}  // namespace

std::optional<std::vector<InstructionJudgement>> judge_instructions(InstructionSet set,
                                                                    const Item& item,
                                                                    std::string_view answer,
                                                                    std::string& why) {
  const Checks checks = checks_of(kinds_of(set), item);
  const std::vector<Text> readings = readings_of(Text(repair_utf8(answer)));
  std::vector<InstructionJudgement> judged;
  try {
    for (const auto& [id, check] : checks) judged.push_back(judge(id, check, readings));
    return judged;
  } catch (const TooCostly& costly) {
    why = "matching \"" + costly.pattern + "\" takes too many steps";
  } catch (const CannotTell& missing) {
    why = missing.why;
  }
  return std::nullopt;
}

void add_instruction_graders(GraderTable& table) {
  table["ifeval"] = maker(InstructionSet::kIfeval, Reading::kStrict);
  table["ifbench"] = maker(InstructionSet::kIfbench, Reading::kLoose);
}

}  // namespace dure
