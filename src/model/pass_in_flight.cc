// The room of a pass, and its input as the layers and heads read it.
#include "model/pass_in_flight.h"

#include <algorithm>

#include "base/error.h"

namespace dure {
namespace {

ActivationOptions activation_options(const ModelConfig& c, const TrainPassOptions& p) {
  return {.rows_max = p.rows_max,
          .keep = p.recompute ? KeepActivations::kLayerInputs : KeepActivations::kEverything,
          .mtp = has_mtp(c, p),
          .adapter_rank = p.adapter_rank,
          .experts_elsewhere = p.experts_elsewhere,
          .holding = p.holding};
}

void check_token(int32_t token, int64_t vocab_size, const char* what, size_t row) {
  if (token < 0 || token >= vocab_size) {
    fail(ErrorCode::kInvalidArgument, "{} {} of row {} is outside the vocabulary of {} tokens",
         what, token, row, vocab_size);
  }
}

}  // namespace

PassInFlight::PassInFlight(const ModelConfig& config, const TrainPassOptions& options, Arena& arena,
                           const PassInFlight* beside)
    : activations(config, activation_options(config, options), arena,
                  beside == nullptr ? nullptr : &beside->activations) {
  if (options.holding.head) main.lay_out(options.rows_max, arena);
  if (has_mtp(config, options)) mtp.lay_out(options.rows_max, arena);
}

void PassInFlight::reserve(const TrainPassOptions& options, Device device) {
  kv.reserve(documents_max(options));
  for (HeadRows* head : {&main, &mtp}) head->reserve(options.rows_max, device);
  for (HostArray<int32_t>* list : {&ids, &next_ids, &positions})
    *list = HostArray<int32_t>(options.rows_max, device);
  document_offsets = HostArray<int64_t>(documents_max(options) + 1, device);
}

void PassInFlight::take(const TrainInput& in, const ModelConfig& config) {
  DURE_CHECK(in.ids.size() == in.targets.size(), "{} ids, {} targets", in.ids.size(),
             in.targets.size());
  for (size_t t = 0; t < in.ids.size(); ++t) {
    check_token(in.ids[t], config.vocab_size, "token", t);
    if (in.targets[t] != kIgnore) check_token(in.targets[t], config.vocab_size, "target", t);
  }
  ids.assign(in.ids);
  take_documents(in);
  take_targets(in);
  activations.set_rows(row_count());
  mtp_ready = false;
}

void PassInFlight::take_documents(const TrainInput& in) {
  kv.set_documents(in.document_lengths);
  positions.clear();
  next_ids.clear();
  document_offsets.clear();
  document_offsets.push_back(0);
  for (const int64_t length : in.document_lengths) {
    const auto first = static_cast<size_t>(document_offsets.values().back());
    DURE_CHECK(first + static_cast<size_t>(length) <= in.ids.size(),
               "documents are longer than {} rows", in.ids.size());
    for (int64_t p = 0; p < length; ++p) {
      positions.push_back(static_cast<int32_t>(p));
      // The last row of a document has no next token: any id will do, it has no MTP target and
      // nothing else reads it.
      const int64_t next = std::min(p + 1, length - 1);
      next_ids.push_back(in.ids[first + static_cast<size_t>(next)]);
    }
    document_offsets.push_back(static_cast<int64_t>(first) + length);
  }
  DURE_CHECK(positions.size() == in.ids.size(), "documents cover {} of {} rows", positions.size(),
             in.ids.size());
}

void PassInFlight::take_targets(const TrainInput& in) {
  main.clear();
  mtp.clear();
  for (size_t t = 0; t < in.ids.size(); ++t) {
    if (in.targets[t] != kIgnore) main.add(t, in.targets[t]);
    const bool next =
        t + 1 < in.ids.size() && positions[t + 1] != 0 && in.targets[t + 1] != kIgnore;
    if (next) mtp.add(t, in.targets[t + 1]);
  }
}

}  // namespace dure
