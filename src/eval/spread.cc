// A meeting is two exchanges: four numbers of each rank to all, then the rows to the first.
#include "eval/spread.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "comm/packer.h"
#include "eval/grade_bytes.h"

namespace dure {
namespace {

constexpr size_t kWanted = 0, kUndone = 1, kStops = 2, kBytes = 3, kNumbers = 4;
using Numbers = std::array<int64_t, kNumbers>;

Json calls_json(const std::vector<ToolCall>& calls) {
  Json::Array out;
  for (const ToolCall& call : calls) out.push_back(Json::Array{call.id, call.name, call.arguments});
  return out;
}

std::vector<ToolCall> calls_of(const Json& json) {
  std::vector<ToolCall> out;
  for (const Json& one : json.as_array())
    out.push_back(
        {one.at(size_t{0}).as_string(), one.at(size_t{1}).as_string(), one.at(size_t{2})});
  return out;
}

}  // namespace

std::string pack_answer(const AnswerRow& row) {
  Packer out;
  out.json(row.messages);
  out.text(row.answer.reasoning);
  out.text(row.answer.content);
  out.json(calls_json(row.answer.tool_calls));
  out.number(row.answer.finished);
  out.list(row.answer.log_likelihoods);
  out.list(row.answer.continuation_tokens);
  out.number(row.end);
  for (const int64_t count : {row.turns, row.prompt_tokens, row.tokens}) out.number(count);
  out.number(row.seconds);
  out.number(row.grade_seconds);
  pack_grade(row.grade, out);
  return out.take();
}

void unpack_answer(const std::string& bytes, AnswerRow& row) {
  Unpacker in(bytes);
  row.messages = in.json();
  row.answer.reasoning = in.text();
  row.answer.content = in.text();
  row.answer.tool_calls = calls_of(in.json());
  row.answer.finished = in.number<bool>();
  row.answer.log_likelihoods = in.list<double>();
  row.answer.continuation_tokens = in.list<int64_t>();
  row.end = in.number<SaidEnd>();
  for (int64_t* count : {&row.turns, &row.prompt_tokens, &row.tokens})
    *count = in.number<int64_t>();
  row.seconds = in.number<double>();
  row.grade_seconds = in.number<double>();
  row.grade = unpack_grade(in);
  DURE_CHECK(in.empty(), "an answer of another rank");
}

Spread::Spread(Group& group, std::vector<int64_t> open) : group_(group) {
  open_.resize(static_cast<size_t>(group.first_says(std::ssize(open), "open questions")));
  if (group.is_first()) {
    open_ = std::move(open);
  } else {
    std::ranges::fill(open_, 0);
  }
  // What the first one has, to all.
  group.all_reduce(std::span(open_), "open questions");
}

std::vector<std::vector<int64_t>> Spread::deal(std::vector<int64_t> wanted) {
  std::vector<std::vector<int64_t>> out(wanted.size());
  bool some = true;
  while (some && !all_dealt()) {
    some = false;
    for (size_t r = 0; r < wanted.size() && !all_dealt(); ++r) {
      if (wanted[r] <= 0) continue;
      --wanted[r];
      some = true;
      out[r].push_back(open_[next_++]);
    }
  }
  return out;
}

Spread::Heard Spread::meet(const Said& said) {
  const auto ranks = static_cast<size_t>(group_.size());
  const bool sends = !group_.is_first();
  const Numbers mine = {said.wanted, said.undone, said.stops ? 1 : 0,
                        sends ? std::ssize(said.rows) : 0};
  std::vector<int64_t> all(ranks * kNumbers);
  const std::vector<int64_t> counts(ranks, kNumbers);
  group_.all_gather(std::span<const int64_t>(mine), counts, std::span(all), "meeting");

  Heard out;
  out.rows.resize(group_.is_first() ? ranks : 0);
  std::vector<Incoming> in;
  std::vector<Outgoing> sent;
  std::vector<int64_t> wanted;
  int64_t undone = 0;
  for (size_t r = 0; r < ranks; ++r) {
    const std::span<const int64_t> numbers = std::span(all).subspan(r * kNumbers, kNumbers);
    wanted.push_back(numbers[kWanted]);
    undone += numbers[kUndone];
    out.stops = out.stops || numbers[kStops] != 0;
    if (!group_.is_first() || r == 0) continue;
    out.rows[r].resize(static_cast<size_t>(numbers[kBytes]));
    in.push_back({static_cast<int>(r), std::as_writable_bytes(std::span(out.rows[r]))});
  }
  if (sends) sent.push_back({0, std::as_bytes(std::span(said.rows))});
  group_.exchange(sent, in, "answers to the first rank");
  out.over = undone == 0 && (out.stops || all_dealt());
  if (!out.stops) out.dealt = std::move(deal(wanted)[static_cast<size_t>(group_.rank())]);
  return out;
}

}  // namespace dure
