// One field after another; both directions stand side by side.
#include "rl/rollout_bytes.h"

#include "base/error.h"
#include "comm/packer.h"
#include "eval/grade_bytes.h"
#include "text/chat.h"

namespace dure {
namespace {

void pack_episode(const PlayedEpisode& episode, Packer& out) {
  out.list(episode.answers);
  out.text(messages_to_json(episode.messages).dump());
  out.number(episode.end);
  out.number(episode.reasoning_closed);
  out.number(episode.too_long);
}

PlayedEpisode unpack_episode(Unpacker& in) {
  PlayedEpisode out;
  out.answers = in.list<PlayedEpisode::Span>();
  out.messages = messages_from_json(parse_json(in.text(), "episode"), "episode");
  out.end = in.number<EpisodeEnd>();
  out.reasoning_closed = in.number<bool>();
  out.too_long = in.number<bool>();
  return out;
}

void pack(const Rollout& r, Packer& out) {
  const Generation& g = r.generation;
  out.list(g.tokens);
  out.list(g.log_probabilities);
  out.number(g.finish);
  for (const int64_t count : {g.cached_tokens, g.drafted, g.accepted}) out.number(count);
  out.text(r.reasoning);
  out.text(r.content);
  out.number(r.reward);
  out.number(r.score);
  out.number(r.dropped);
  out.json(r.parts);
  pack_grade(r.grade, out);
  out.number(r.episode.has_value());
  if (r.episode) pack_episode(*r.episode, out);
}

void unpack(Unpacker& in, Rollout& r) {
  Generation& g = r.generation;
  g.tokens = in.list<int32_t>();
  g.log_probabilities = in.list<float>();
  g.finish = in.number<FinishReason>();
  for (int64_t* count : {&g.cached_tokens, &g.drafted, &g.accepted}) *count = in.number<int64_t>();
  r.reasoning = in.text();
  r.content = in.text();
  r.reward = in.number<double>();
  r.score = in.number<double>();
  r.dropped = in.number<bool>();
  r.parts = in.json();
  r.grade = unpack_grade(in);
  if (in.number<bool>()) r.episode = unpack_episode(in);
}

void pack_batch(const SampledBatch& batch, Packer& out) {
  out.number(batch.step);
  out.number(batch.weights_step);
  out.number(batch.seconds);
  out.number(std::ssize(batch.rollouts));
  out.number(batch.rollouts.back().group + 1);
  for (const Rollout& r : batch.rollouts) {
    out.list(r.prompt);
    pack(r, out);
  }
}

SampledBatch unpack_batch(Unpacker& in, const AskedRollouts& asked, const std::string& file) {
  SampledBatch out;
  out.step = in.number<int64_t>();
  out.weights_step = in.number<int64_t>();
  out.seconds = in.number<double>();
  const auto count = in.number<std::ptrdiff_t>();
  out.rollouts = asked(out.step, in.number<int64_t>());
  if (std::ssize(out.rollouts) != count)
    fail(ErrorCode::kCorrupt, "{}: step {} has {} answers there, and asks for {}", file,
         out.step + 1, count, out.rollouts.size());
  for (Rollout& r : out.rollouts) {
    std::vector<int32_t> prompt = in.list<int32_t>();
    unpack(in, r);
    if (!r.episode && prompt != r.prompt)
      fail(ErrorCode::kCorrupt, "{}: answers to other prompts than step {} asks", file,
           out.step + 1);
    r.prompt = std::move(prompt);
  }
  return out;
}

}  // namespace

std::string outcome_bytes(std::span<const Rollout> rollouts) {
  Packer out;
  for (const Rollout& r : rollouts) {
    pack(r, out);
    if (r.episode) out.list(r.prompt);
  }
  return out.bytes();
}

void take_outcomes(std::string_view bytes, std::span<Rollout> rollouts) {
  Unpacker in(bytes);
  for (Rollout& r : rollouts) {
    unpack(in, r);
    if (r.episode) r.prompt = in.list<int32_t>();
  }
  DURE_CHECK(in.empty(), "rollouts: bytes are left over");
}

std::string batch_bytes(const std::deque<SampledBatch>& batches) {
  Packer out;
  for (const SampledBatch& batch : batches) pack_batch(batch, out);
  return out.bytes();
}

std::deque<SampledBatch> batches_of(std::string_view bytes, const AskedRollouts& asked,
                                    const std::string& file) {
  std::deque<SampledBatch> out;
  Unpacker in(bytes);
  while (!in.empty()) out.push_back(unpack_batch(in, asked, file));
  return out;
}

}  // namespace dure
