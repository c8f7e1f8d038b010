// A sample of one question becomes a conversation too, so that both kinds are shown alike.
#include "eval/rollout_view.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/html.h"
#include "data/inspect.h"
#include "eval/report_data.h"

namespace dure {
namespace {

constexpr int64_t kCards = 8;
constexpr size_t kCardBytesMax = 1200;  // of a message

bool is_conversation(const Json& sample) { return sample.contains("turns"); }

std::vector<Message> messages_of(const Json& sample) {
  const Json* messages = sample.find("messages");
  if (messages == nullptr) return {{.role = Role::kUser, .content = text_of(sample, "prompt")}};
  try {
    return messages_from_json(*messages, "messages");
  } catch (const Error&) {
    return {};
  }
}

std::string head_of(const Json& sample) {
  std::string what = text_of(sample, "item");
  if (what.empty()) what = text_of(sample, "task");
  std::string out =
      fmt::format("step {:.0f}, {}: reward {:g}", number_of(sample, "step").value_or(0), what,
                  number_of(sample, "reward").value_or(0));
  if (is_conversation(sample))
    out += fmt::format(", {:.0f} turns, end {}", number_of(sample, "turns").value_or(0),
                       text_of(sample, "end"));
  if (const std::string failure = text_of(sample, "failure"); !failure.empty())
    out += ", failed: " + failure;
  if (sample.contains("dropped")) out += ", dropped";
  return out;
}

std::string calls_text(const Message& message) {
  std::string out;
  for (const ToolCall& call : message.tool_calls)
    out += fmt::format("{}call {}({})", out.empty() ? "" : "\n", call.name, call.arguments.dump());
  return out;
}

std::string joined(const std::string& a, const std::string& b) {
  return a.empty() || b.empty() ? a + b : a + "\n" + b;
}

std::string card_html(const Json& sample) {
  std::string out =
      "<article class='card'><div class='what'>" + escape_html(head_of(sample)) + "</div>";
  const auto pre = [&](const char* kind, const std::string& text) {
    if (text.empty()) return;
    out += fmt::format("<pre class='{}'>", kind) + escape_html(shortened(text, kCardBytesMax)) +
           "</pre>";
  };
  for (const Message& message : rollout_messages(sample)) {
    const bool own = message.role == Role::kAssistant;
    if (!own) out += fmt::format("<div class='who'>{}</div>", role_name(message.role));
    pre("think", message.reasoning);
    pre(own ? "said" : "ask", joined(message.content, calls_text(message)));
  }
  if (const std::string reason = text_of(sample, "reason"); !reason.empty())
    out += "<div class='expected'>" + escape_html(shortened(reason, kCardBytesMax)) + "</div>";
  return out + "</article>";
}

}  // namespace

Path rollout_file(const Path& path) {
  if (path.filename() == "samples.jsonl") return path;
  const Path inside = path / "samples.jsonl";
  return std::filesystem::is_directory(path) && path_exists(inside) ? inside : Path();
}

std::vector<Message> rollout_messages(const Json& sample) {
  std::vector<Message> out = messages_of(sample);
  if (is_conversation(sample)) return out;
  out.push_back({.role = Role::kAssistant,
                 .content = text_of(sample, "content"),
                 .reasoning = text_of(sample, "thinking")});
  return out;
}

RolloutCounts count_rollouts(const std::vector<Json>& samples) {
  RolloutCounts out{.rollouts = std::ssize(samples)};
  struct Rewards {
    double sum = 0;
    int64_t count = 0;
    double mean() const { return sum / static_cast<double>(count); }
  };
  std::map<double, Rewards> by_step;
  for (const Json& sample : samples) {
    Rewards& step = by_step[number_of(sample, "step").value_or(0)];
    step.sum += number_of(sample, "reward").value_or(0);
    ++step.count;
    out.dropped += sample.contains("dropped") ? 1 : 0;
    out.failed += sample.contains("failure") ? 1 : 0;
    if (!is_conversation(sample)) continue;
    ++out.conversations;
    out.turns_mean += number_of(sample, "turns").value_or(0);
  }
  if (out.conversations > 0) out.turns_mean /= static_cast<double>(out.conversations);
  out.steps = std::ssize(by_step);
  if (by_step.empty()) return out;
  out.first_reward = by_step.begin()->second.mean();
  out.last_reward = by_step.rbegin()->second.mean();
  return out;
}

std::vector<const Json*> spread_rollouts(const std::vector<Json>& samples, int64_t count) {
  std::vector<const Json*> out;
  const int64_t total = std::ssize(samples);
  const int64_t shown = std::min(count, total);
  for (int64_t i = 0; i < shown; ++i)
    out.push_back(&samples[static_cast<size_t>((i + 1) * total / shown - 1)]);
  return out;
}

std::string rollout_text(const Json& sample, size_t bytes_max) {
  std::string out = "--- " + head_of(sample) + "\n";
  const auto line = [&](const std::string& who, const std::string& text) {
    if (!text.empty()) out += fmt::format("[{}] {}\n", who, shortened(text, bytes_max));
  };
  for (const Message& message : rollout_messages(sample)) {
    line("thinking", message.reasoning);
    line(role_name(message.role), joined(message.content, calls_text(message)));
  }
  line("expected", text_of(sample, "expected"));
  line("graded", text_of(sample, "reason"));
  return out;
}

std::string rollouts_html(const std::vector<Json>& samples) {
  std::string out;
  for (const Json* sample : spread_rollouts(samples, kCards)) out += card_html(*sample);
  return out.empty() ? "" : "<div class='grid cards'>" + out + "</div>";
}

}  // namespace dure
