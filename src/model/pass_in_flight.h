// model/pass_in_flight.h: what one training pass keeps from its input to the end of its backward;
// internal to model/.
//
// A stage of a pipeline has several in flight; one rank alone has one. Not here: what passes use
// one after another, and the passes' order (train_pass.h, train/).
#pragma once

#include "model/activations.h"
#include "model/document_kv.h"
#include "model/head_rows.h"

namespace dure {

inline int64_t documents_max(const TrainPassOptions& p) {
  return p.documents_max > 0 ? p.documents_max : p.rows_max;
}
// Room for the MTP layer and its loss.
inline bool has_mtp(const ModelConfig& c, const TrainPassOptions& p) {
  return p.mtp && p.holding.mtp && c.mtp_layer_count > 0;
}

struct PassInFlight {
  // `beside`: another one, with which it shares what no pass keeps.
  PassInFlight(const ModelConfig& config, const TrainPassOptions& options, Arena& arena,
               const PassInFlight* beside);
  // What the host holds beside the arena.
  void reserve(const TrainPassOptions& options, Device device);

  // Throws kInvalidArgument (an id or target outside the vocabulary).
  void take(const TrainInput& in, const ModelConfig& config);
  int64_t row_count() const { return static_cast<int64_t>(ids.size()); }

  Activations activations;
  HeadRows main, mtp;
  DocumentKv kv;
  HostArray<int32_t> ids, next_ids, positions;  // [T]
  HostArray<int64_t> document_offsets;          // [Dn+1]
  const ModelWeights* weights = nullptr;        // null: used up
  AdapterRows adapter_rows;                     // all rows, where the weights have an adapter
  bool mtp_ready = false;

 private:
  void take_documents(const TrainInput& in);
  void take_targets(const TrainInput& in);
};

}  // namespace dure
