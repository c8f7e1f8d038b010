// Arguments, comparisons and the tables of kinds.
#include "grade/instructions/instruction.h"

#include <fmt/format.h>

#include "base/error.h"

namespace dure::instructions {

const Json& Arguments::at(std::string_view name) const {
  const Json* value = kwargs_.find(name);
  if (value == nullptr || value->is_null())
    fail(ErrorCode::kInvalidArgument, "{}: argument \"{}\" is missing", where_, name);
  return *value;
}
int64_t Arguments::integer(std::string_view name) const {
  return at(name).as_int(fmt::format("{}: {}", where_, name));
}
double Arguments::number(std::string_view name) const {
  return at(name).as_double(fmt::format("{}: {}", where_, name));
}
std::string Arguments::text(std::string_view name) const {
  return at(name).as_string(fmt::format("{}: {}", where_, name));
}
std::vector<std::string> Arguments::texts(std::string_view name) const {
  const std::string place = fmt::format("{}: {}", where_, name);
  std::vector<std::string> out;
  for (const Json& item : at(name).as_array(place)) out.push_back(item.as_string(place));
  return out;
}

Relation relation_of(const Arguments& arguments, std::string_view name) {
  static const std::map<std::string, Relation> relations = {
      {"at least", Relation::kAtLeast},  {"al menos", Relation::kAtLeast},
      {"以上", Relation::kAtLeast},      {"less than", Relation::kLessThan},
      {"未満", Relation::kLessThan},     {"at most", Relation::kAtMost},
      {"como máximo", Relation::kAtMost}};
  const std::string text = arguments.text(name);
  const auto found = relations.find(text);
  if (found == relations.end())
    fail(ErrorCode::kInvalidArgument,
         "{}: {} is \"{}\", which is no relation (at least, less than)", arguments.where(), name,
         text);
  return found->second;
}

Verdict compare(int64_t count, Relation relation, int64_t asked, std::string_view of_what) {
  switch (relation) {
    case Relation::kAtLeast:
      return Verdict::of(count >= asked,
                         fmt::format("{} {}, at least {} asked for", count, of_what, asked));
    case Relation::kLessThan:
      return Verdict::of(count < asked,
                         fmt::format("{} {}, less than {} asked for", count, of_what, asked));
    case Relation::kAtMost:
      return Verdict::of(count <= asked,
                         fmt::format("{} {}, at most {} asked for", count, of_what, asked));
  }
  return Verdict::no("");
}

Verdict exactly(int64_t count, int64_t asked, std::string_view of_what) {
  return Verdict::of(count == asked, fmt::format("{} {}, {} asked for", count, of_what, asked));
}

const Kinds& ifeval_kinds() {
  static const Kinds kinds = [] {
    Kinds out;
    add_ifeval_word_kinds(out);
    add_ifeval_layout_kinds(out);
    const Kinds english = out;
    for (const auto& [id, maker] : english) out["en:" + id] = maker;
    add_spanish_kinds(out);
    add_japanese_kinds(out);
    return out;
  }();
  return kinds;
}

const Kinds& ifbench_kinds() {
  static const Kinds kinds = [] {
    Kinds out;
    add_ifbench_count_kinds(out);
    add_ifbench_word_kinds(out);
    add_ifbench_sentence_kinds(out);
    add_ifbench_format_kinds(out);
    add_ifbench_task_kinds(out);
    return out;
  }();
  return kinds;
}

}  // namespace dure::instructions
