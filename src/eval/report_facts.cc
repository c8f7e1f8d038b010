// Each group is a walk over the fields that it knows; what all models share is said once.
#include "eval/report_facts.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/html.h"
#include "base/progress.h"
#include "eval/report_data.h"

namespace dure {
namespace {

// The value at a path as text: numbers as short as they read back; "" where absent.
std::string value_text(const Json& json, std::string_view path) {
  const Json* found = find_path(json, path);
  if (found == nullptr) return "";
  if (found->is_string()) return found->as_string();
  if (found->is_bool()) return found->as_bool() ? "yes" : "no";
  if (found->is_int()) return grouped(found->as_int());
  return found->is_number() ? fmt::format("{:g}", found->as_double()) : "";
}

class Facts {
 public:
  explicit Facts(const Json& from) : from_(from) {}

  // `pattern` holds one {} for each of `paths`; nothing is added where one is absent.
  void add(const std::string& name, const std::string& pattern,
           const std::vector<std::string>& paths) {
    if (const std::string text = filled(pattern, paths); !text.empty())
      list_.push_back({name, text});
  }
  // The parts that are known, joined by commas.
  using Part = std::pair<std::string, std::vector<std::string>>;
  void add_parts(const std::string& name, const std::vector<Part>& parts) {
    std::string all;
    for (const Part& part : parts) {
      const std::string text = filled(part.first, part.second);
      if (!text.empty()) all += (all.empty() ? "" : ", ") + text;
    }
    if (!all.empty()) list_.push_back({name, all});
  }
  void add_weight(const std::string& name, std::string_view path) {
    if (number_of(from_, path).value_or(0) > 0) add_text(name, value_text(from_, path));
  }
  // Without commas between its digits, so that it can be copied.
  void add_seed(std::string_view path) {
    if (const Json* seed = find_path(from_, path); seed != nullptr) add_text("seed", seed->dump());
  }
  void add_text(const std::string& name, const std::string& text) {
    if (!text.empty()) list_.push_back({name, text});
  }
  std::vector<Fact> take() { return std::move(list_); }

 private:
  std::string filled(const std::string& pattern, const std::vector<std::string>& paths) const {
    std::string out = pattern;
    for (const std::string& path : paths) {
      const std::string value = value_text(from_, path);
      const size_t at = out.find("{}");
      if (value.empty() || at == std::string::npos) return "";
      out.replace(at, 2, value);
    }
    return out;
  }

  const Json& from_;
  std::vector<Fact> list_;
};

std::vector<Fact> measured_facts(const Json& result) {
  Facts facts(result);
  facts.add("date", "{}", {"measured.date"});
  facts.add_parts("program", {{"{}", {"measured.program"}}, {"commit {}", {"measured.commit"}}});
  facts.add("compiled by", "{}", {"measured.compiler"});
  facts.add("processor", "{}", {"measured.processor"});
  facts.add_parts("cores", {{"{}", {"measured.cores"}}, {"{} threads used", {"measured.threads"}}});
  if (const auto bytes = number_of(result, "measured.memory_bytes"))
    facts.add_text("memory", format_bytes(*bytes));
  facts.add("instruction set used", "{}", {"measured.instruction_set"});
  return facts.take();
}

// Temperature and top-p, and of the rest what is not off.
std::string sampling_text(const Json& result) {
  struct Setting {
    const char *path, *name;
    double off;
  };
  constexpr Setting kSettings[] = {{"temperature", "temperature", -1},
                                   {"top_p", "top-p", -1},
                                   {"top_k", "top-k", 0},
                                   {"min_p", "min-p", 0},
                                   {"repetition_penalty", "repetition penalty", 1},
                                   {"presence_penalty", "presence penalty", 0},
                                   {"frequency_penalty", "frequency penalty", 0}};
  std::string out;
  for (const Setting& s : kSettings) {
    const auto value = number_of(result, std::string("suite.tasks.sampling.") + s.path);
    if (value && *value != s.off)
      out += fmt::format("{}{} {:g}", out.empty() ? "" : ", ", s.name, *value);
  }
  return out;
}

std::vector<Fact> problem_facts(const Json& result, const std::vector<Json>& all) {
  Facts facts(result);
  const CellSizes cells = cell_sizes(all, headline_mode(all));
  if (cells.cells > 0) {
    const std::string each = cells.fewest == cells.most
                                 ? grouped(cells.most)
                                 : fmt::format("{} to {}", cells.fewest, cells.most);
    facts.add_text("problems", fmt::format("{} a cell, {} cells (a task in a language)", each,
                                           grouped(cells.cells)));
    std::string asked;
    for (const Mode& mode : modes_in({result}))
      asked += (asked.empty() ? "" : "; ") + mode_text(mode);
    facts.add_text("asked", asked);
  }
  facts.add_text("sampling", sampling_text(result));
  facts.add("longest answer", "{} tokens", {"suite.tasks.new_tokens_max"});
  facts.add_seed("suite.seed");
  facts.add_parts("held-out text", {{"{}", {"suite.text.corpus"}},
                                    {"pieces of {} tokens", {"suite.text.context_tokens"}}});
  return facts.take();
}

std::vector<Fact> shape_facts(const Json& result) {
  Facts facts(result);
  facts.add_parts("parameters", {{"{}", {"shape.parameters"}},
                                 {"{} active per token", {"shape.active_parameters"}}});
  facts.add_parts("layers", {{"{}", {"shape.layers"}}, {"{} MTP", {"shape.mtp_layers"}}});
  facts.add_parts("width", {{"{}", {"shape.hidden"}},
                            {"{} query heads and {} key heads of {}",
                             {"shape.heads", "shape.kv_heads", "shape.head_width"}}});
  facts.add_parts("experts", {{"{}", {"shape.experts"}},
                              {"{} a token", {"shape.experts_per_token"}},
                              {"{} shared", {"shape.shared_experts"}}});
  facts.add("vocabulary", "{}", {"shape.vocabulary"});
  facts.add("context", "{} tokens", {"shape.context_tokens"});
  return facts.take();
}

void add_progress(Facts& facts, const RunLog& log) {
  if (log.rows.empty()) return;
  double seconds = 0;
  for (const Json& row : log.rows) seconds += number_of(row, "step_time").value_or(0);
  std::string text = fmt::format("{} logged", grouped(std::ssize(log.rows)));
  if (const auto step = number_of(log.rows.back(), "step"))
    text = "up to step " + grouped(static_cast<int64_t>(*step));
  if (const auto tokens = number_of(log.rows.back(), "num_tokens"))
    text += fmt::format(", {} tokens", grouped(static_cast<int64_t>(*tokens)));
  if (seconds > 0) text += fmt::format(", {:.0f} s", std::ceil(seconds));
  facts.add_text("trained", text);
}

// Shares of the tokens that each of several sources has given, and passes over it.
void add_sources(Facts& facts, const RunLog& log) {
  if (log.rows.empty()) return;
  constexpr std::string_view kPrefix = "sources/", kTokens = "/tokens";
  std::vector<std::pair<std::string, double>> sources;
  double all = 0;
  for (const auto& [key, value] : log.rows.back().as_object()) {
    if (!key.starts_with(kPrefix) || !key.ends_with(kTokens) || !value.is_number()) continue;
    sources.emplace_back(key.substr(kPrefix.size(), key.size() - kPrefix.size() - kTokens.size()),
                         value.as_double());
    all += value.as_double();
  }
  std::string text;
  for (const auto& [name, tokens] : sources) {
    const Json* epochs = log.rows.back().find(std::string(kPrefix) + name + "/epochs");
    text += fmt::format("{}{} {:.1f} %", text.empty() ? "" : ", ", name,
                        100 * tokens / std::max(1.0, all));
    if (epochs != nullptr && epochs->is_number())
      text += fmt::format(" ({:.2f} epochs)", epochs->as_double());
  }
  facts.add_text("tokens came from", text);
}

void add_data_facts(Facts& facts) {
  facts.add("stage", "{}", {"stage"});
  facts.add("folder", "{}", {"output"});
  facts.add("starts from", "{}", {"init"});
  facts.add("tokenizer", "{}", {"tokenizer"});
  facts.add_seed("seed");
  facts.add("steps", "{}", {"steps"});
  facts.add("data", "{}", {"data.corpus"});
  // Of pretraining both are 0: it reads the corpus alone.
  facts.add_weight("weight of plain text", "data.text_weight");
  facts.add_weight("weight of problems", "data.tasks_weight");
}

void add_method_facts(Facts& facts) {
  facts.add("batch", "{} rows of {} tokens", {"batch.rows", "batch.tokens"});
  facts.add_parts("rollouts", {{"{} prompts a step, {} answers each",
                                {"rollout.prompts_per_step", "rollout.group_size"}},
                               {"at most {} tokens", {"rollout.new_tokens_max"}},
                               {"temperature {}", {"rollout.sampling.temperature"}}});
  facts.add_parts("objective",
                  {{"{}", {"objective.objective"}},
                   {"deviation: {}", {"objective.std"}},
                   {"groups without variance dropped: {}", {"objective.drop_zero_variance"}}});
  facts.add_parts("optimiser", {{"{}", {"optimiser.kind"}},
                                {"learning rate {}", {"optimiser.learning_rate"}},
                                {"weight decay {}", {"optimiser.weight_decay"}},
                                {"clipped at {}", {"optimiser.clip_norm"}}});
  facts.add_parts("schedule", {{"warm-up of {} steps", {"schedule.warmup_steps"}},
                               {"{} decay over the last {} of the steps",
                                {"schedule.decay", "schedule.decay_fraction"}},
                               {"to {} of the rate", {"schedule.final_fraction"}}});
  facts.add_parts("loss", {{"MTP x {}", {"loss.mtp_coefficient"}},
                           {"balance x {}", {"loss.balance_coefficient"}},
                           {"router bias rate {}", {"loss.router_bias_rate"}}});
}

std::vector<Fact> run_facts(const RunLog& log) {
  Facts facts(log.config);
  add_data_facts(facts);
  add_method_facts(facts);
  add_progress(facts, log);
  add_sources(facts, log);
  return facts.take();
}

// One group where all results agree, else one a result.
void add_of_results(std::vector<FactGroup>& groups, const std::vector<Json>& results,
                    const std::string& title,
                    const std::function<std::vector<Fact>(const Json&)>& facts_of) {
  std::vector<FactGroup> own;
  for (const Json& result : results)
    own.push_back({title + ": " + text_of(result, "name"), facts_of(result)});
  const bool same = std::all_of(own.begin(), own.end(),
                                [&](const FactGroup& g) { return g.facts == own.front().facts; });
  if (same && !own.empty()) own = {{title, own.front().facts}};
  for (FactGroup& group : own) {
    if (!group.facts.empty()) groups.push_back(std::move(group));
  }
}

std::string settings_html(const std::string& what, const Json& settings) {
  if (!settings.is_object()) return "";
  return "<details><summary>" + escape_html(what) + "</summary><pre class='settings'>" +
         escape_html(settings.dump(2)) + "</pre></details>";
}

}  // namespace

std::vector<FactGroup> report_facts(const ReportInput& input) {
  std::vector<FactGroup> groups;
  add_of_results(groups, input.results, "Measured", measured_facts);
  add_of_results(groups, input.results, "Problems and sampling",
                 [&](const Json& r) { return problem_facts(r, input.results); });
  add_of_results(groups, input.results, "Model", shape_facts);
  const Json none;
  Facts paths(none);
  for (const Json& result : input.results) {
    paths.add_text(text_of(result, "name"), text_of(result, "model"));
    if (const std::string adapter = text_of(result, "adapter"); !adapter.empty())
      paths.add_text(text_of(result, "name") + ", its adapter",
                     adapter + " (" + text_of(result, "adapter_fingerprint") + ")");
  }
  if (auto list = paths.take(); !list.empty()) groups.push_back({"Where the models were", list});
  for (const RunLog& log : input.logs) {
    if (auto facts = run_facts(log); !facts.empty()) groups.push_back({"Run: " + log.name, facts});
  }
  return groups;
}

std::string facts_html(const ReportInput& input) {
  std::string out;
  for (const FactGroup& group : report_facts(input)) {
    out += "<section class='facts'><h3>" + escape_html(group.title) + "</h3><dl>";
    for (const Fact& fact : group.facts)
      out += "<div><dt>" + escape_html(fact.name) + "</dt><dd>" + escape_html(fact.value) +
             "</dd></div>";
    out += "</dl></section>";
  }
  if (!out.empty()) out = "<div class='grid'>" + out + "</div>";
  for (const Json& result : input.results) {
    if (const Json* suite = result.find("suite"); suite != nullptr) {
      out += settings_html("every setting of the evaluation", *suite);
      break;
    }
  }
  for (const RunLog& log : input.logs)
    out += settings_html("every setting of " + log.name, log.config);
  return out;
}

std::string facts_markdown(const ReportInput& input) {
  std::string out;
  for (const FactGroup& group : report_facts(input)) {
    out += "\n**" + group.title + "**\n\n";
    for (const Fact& fact : group.facts) out += "- " + fact.name + ": " + fact.value + "\n";
  }
  return out;
}

}  // namespace dure
