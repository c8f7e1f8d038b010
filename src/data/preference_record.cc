// Every form is made a prompt and a list of responses; each response is read as a conversation
// whose last part is to be learnt.
#include "data/preference_record.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/chat_record.h"
#include "data/record_fields.h"

namespace dure {
namespace {

constexpr double kRewardMax = 1e6;  // as of a verifier (grade/verifier_protocol.h)

const Json& require(const Json& record, const char* key, const char* beside) {
  const Json* value = record.find(key);
  if (value == nullptr) refuse("'{}' without '{}': give both", beside, key);
  if (value->is_null()) refuse("'{}' is null beside '{}': give both", key, beside);
  return *value;
}

// A response may be one message; a list is what it stands for.
Json listed(const Json& side) {
  if (!side.is_object()) return side;
  Json list = Json::array();
  list.push_back(side);
  return list;
}

bool begins_with_answer(const Json& list) {
  if (!list.is_array() || list.size() == 0 || !list.at(size_t{0}).is_object()) return false;
  const Json& first = list.at(size_t{0});
  const Json* role = first.find("role");
  const Json* from = first.find("from");
  if (role == nullptr || role->is_null()) role = from;
  return role != nullptr && (*role == Json("assistant") || *role == Json("gpt"));
}

size_t message_count(const Json& side) { return side.is_array() ? side.size() : 1; }

// Messages begin .. end-1 of a list.
Json part_of(const Json& list, size_t begin, size_t end) {
  Json out = Json::array();
  for (size_t i = begin; i < end; ++i) out.push_back(list.at(i));
  return out;
}

void check_prompt(const Json& prompt, const char* name) {
  if (!prompt.is_string() && !prompt.is_array())
    refuse("'{}' is neither a text nor a list of messages, but {}", name, prompt.kind_name());
  const bool empty = prompt.is_string() ? prompt.as_string().empty() : prompt.size() == 0;
  if (empty) refuse("'{}' is empty: give the question that the responses answer", name);
}

void check_side(const Json& side, const std::string& name) {
  if (!side.is_string() && !side.is_array())
    refuse("'{}' is neither a text nor a list of messages, but {}", name, side.kind_name());
  if (side.is_string()) return;
  if (side.size() == 0) refuse("'{}' is an empty list: give the assistant's message", name);
  if (!begins_with_answer(side))
    refuse(
        "'{}' does not begin with a message of the assistant: leave 'prompt' out where it is the "
        "whole conversation",
        name);
}

class RecordReader {
 public:
  RecordReader(const Json& record, const std::string& place) : record_(record), place_(place) {}

  PreferenceRecord read() {
    const bool openai = has("preferred_output") || has("non_preferred_output");
    const bool pair = has("chosen") || has("rejected");
    const bool group = has("responses") || has("rewards");
    const bool label = has("completion") || has("label");
    if (openai + pair + group + label > 1)
      refuse(
          "fields of several forms: 'chosen', 'preferred_output', 'responses' or 'completion' in "
          "one "
          "row, not two");
    tools_ = present(record_, "tools");
    if (openai) return read_openai();
    if (pair) return read_pair();
    if (group) return read_group();
    if (label) return read_label();
    for (const char* key : {"chosen", "rejected", "responses", "completion"}) {
      if (record_.contains(key)) refuse("'{}' is null: give a response", key);
    }
    refuse(
        "neither 'chosen' and 'rejected', 'responses' and 'rewards', nor 'completion' and 'label': "
        "write {{\"prompt\": ..., \"chosen\": ..., \"rejected\": ...}}");
  }

 private:
  bool has(const char* key) const { return present(record_, key) != nullptr; }

  // Judges the conversation, and adds its response; sets the prompt once.
  void add(const Json& prompt, const Json& side, const std::string& name, double reward) {
    const Json response = listed(side);
    check_side(response, name);
    Json row = Json::object();
    row["prompt"] = prompt;
    row["completion"] = response;
    if (tools_ != nullptr) row["tools"] = *tools_;
    if (const Json* system = first_present(record_, {"system", "system_prompt"}))
      row["system"] = *system;
    const ChatRecord chat = judged(row, name);
    const size_t end = chat.messages.size(), border = end - message_count(response);
    if (!(*chat.messages.at(end - 1).find("role") == Json("assistant")))
      refuse("'{}' does not end with a message of the assistant", name);
    if (out_.responses.empty()) {
      out_.prompt = part_of(chat.messages, 0, border);
      out_.tools = chat.tools;
    }
    out_.responses.push_back(part_of(chat.messages, border, end));
    out_.rewards.push_back(reward);
  }

  ChatRecord judged(const Json& row, const std::string& name) {
    try {
      return *read_chat_record(row, place_, notes_);
    } catch (const Error& error) {
      refuse("'{}': {}", name, error.what());
    }
  }

  PreferenceRecord read_pair() {
    const Json& chosen = require(record_, "chosen", "rejected");
    const Json& rejected = require(record_, "rejected", "chosen");
    const Json* prompt = present(record_, "prompt");
    const bool whole = chosen.is_array() && rejected.is_array() && !begins_with_answer(chosen) &&
                       !begins_with_answer(rejected) && (prompt == nullptr || prompt->is_string());
    if (whole) {
      read_conversations(chosen, rejected);
    } else {
      if (prompt == nullptr)
        refuse(
            "no 'prompt': give one, or write 'chosen' and 'rejected' as whole conversations, lists "
            "of messages that begin alike");
      check_prompt(*prompt, "prompt");
      add(*prompt, chosen, "chosen", 1);
      add(*prompt, rejected, "rejected", 0);
    }
    if (out_.responses[0] == out_.responses[1])
      refuse("'chosen' and 'rejected' are the same: nothing to compare; leave the row out");
    return std::move(out_);
  }

  // TRL's implicit prompt: what both conversations begin with.
  void read_conversations(const Json& chosen, const Json& rejected) {
    const size_t least = std::min(chosen.size(), rejected.size());
    size_t same = 0;
    while (same < least && chosen.at(same) == rejected.at(same)) ++same;
    if (same == chosen.size() && same == rejected.size())
      refuse("'chosen' and 'rejected' are the same: nothing to compare; leave the row out");
    if (same == 0)
      refuse("'chosen' and 'rejected' do not begin alike: their common beginning is the prompt");
    if (same == least)
      refuse("'{}' is the beginning of '{}': it ends without a response of its own",
             same == chosen.size() ? "chosen" : "rejected",
             same == chosen.size() ? "rejected" : "chosen");
    const Json prompt = part_of(chosen, 0, same);
    add(prompt, part_of(chosen, same, chosen.size()), "chosen", 1);
    add(prompt, part_of(rejected, same, rejected.size()), "rejected", 0);
  }

  // OpenAI's preference files: {"input": {"messages", "tools"}, "preferred_output": [message],
  // ...}.
  PreferenceRecord read_openai() {
    const Json& preferred = require(record_, "preferred_output", "non_preferred_output");
    const Json& other = require(record_, "non_preferred_output", "preferred_output");
    const Json* input = present(record_, "input");
    const Json* messages =
        input != nullptr && input->is_object() ? present(*input, "messages") : nullptr;
    if (messages == nullptr)
      refuse("no 'input' with 'messages' beside 'preferred_output': give the prompt there");
    tools_ = present(*input, "tools");
    check_prompt(*messages, "input.messages");
    add(*messages, preferred, "preferred_output", 1);
    add(*messages, other, "non_preferred_output", 0);
    if (out_.responses[0] == out_.responses[1])
      refuse(
          "'preferred_output' and 'non_preferred_output' are the same: nothing to compare; leave "
          "the "
          "row out");
    return std::move(out_);
  }

  PreferenceRecord read_group() {
    out_.form = PreferenceForm::kGroup;
    const Json& responses = require(record_, "responses", "rewards");
    const Json& rewards = require(record_, "rewards", "responses");
    const char* name = has("prompt") ? "prompt" : "messages";
    if (!has(name)) refuse("no 'prompt' (or 'messages') beside 'responses'");
    const Json& prompt = record_.at(name);
    check_prompt(prompt, name);
    if (!responses.is_array() || responses.size() < 2)
      refuse("'responses' is no list of at least two");
    if (!rewards.is_array() || rewards.size() != responses.size())
      refuse("'rewards' has {} numbers for {} responses", rewards.is_array() ? rewards.size() : 0,
             responses.size());
    for (size_t i = 0; i < responses.size(); ++i) {
      const Json& reward = rewards.at(i);
      if (!reward.is_number() || !(std::abs(reward.as_double()) <= kRewardMax))
        refuse("'rewards[{}]' is {}: give a number, at most 1e6 either way", i, reward.dump());
      add(prompt, responses.at(i), fmt::format("responses[{}]", i), reward.as_double());
    }
    const auto alike = [](const auto& list) {
      return std::ranges::all_of(list, [&](const auto& one) { return one == list.front(); });
    };
    if (alike(out_.responses) && !alike(out_.rewards))
      refuse("'responses' are all the same, with other rewards: leave the row out");
    return std::move(out_);
  }

  PreferenceRecord read_label() {
    out_.form = PreferenceForm::kLabel;
    const Json& completion = require(record_, "completion", "label");
    const Json& label = require(record_, "label", "completion");
    const bool good = label == Json(true) || label == Json(int64_t{1});
    if (!good && !(label == Json(false)) && !(label == Json(int64_t{0})))
      refuse("'label' is {}: true (a good completion) or false", label.dump());
    const Json* prompt = present(record_, "prompt");
    if (prompt == nullptr) refuse("no 'prompt' beside 'completion'");
    check_prompt(*prompt, "prompt");
    add(*prompt, completion, "completion", good ? 1 : 0);
    return std::move(out_);
  }

  const Json& record_;
  const std::string& place_;
  const Json* tools_ = nullptr;  // null: none
  ChatNotes notes_;
  PreferenceRecord out_;
};

}  // namespace

PreferenceRecord read_preference_record(const Json& record, const std::string& place) {
  if (!record.is_object()) refuse("{}, not an object", record.kind_name());
  return RecordReader(record, place).read();
}

Json conversation_of(const Json& prompt, const Json& response) {
  Json out = prompt;
  for (const Json& message : response.as_array()) out.push_back(message);
  return out;
}

}  // namespace dure
