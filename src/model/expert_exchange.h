// model/expert_exchange.h: the seam by which a sparse layer's routed experts may lie elsewhere:
// rows go out sorted by expert, results come back in the same order.
//
// Where ModelWeights name an exchange a layer routes, and computes its shared expert, as ever; what
// its routed experts give comes from the exchange, to the same bits, for rows do not depend on each
// other: a product's arithmetic prepares each row by itself. Three calls for each layer and way:
//
//   send(call, rows);       // they begin to travel
//   ... the shared expert's first products, advance() between them ...
//   turn(call, results);    // an owner computes what has come, and results begin to travel
//   ... the rest of the shared expert ...
//   receive(call);          // results are here
//
// Implementations: expert_ranks.h (training: every rank owns some and all run the same pass), the
// front rank of several that serve (which owns none). Not here: what an owner computes (experts.h).
#pragma once

#include "model/adapter.h"
#include "tensor/device.h"

namespace dure {

struct ExpertCall {
  enum class Way : uint8_t {
    kForward,   // rows in, outputs back
    kBackward,  // gradients of outputs in, gradients of rows back; of the forward's rows
  };
  Way way = Way::kForward;
  int64_t layer = 0;
  const LayerFacts& facts;
  // As bound here: of expert matrices those that are held, or none.
  const LayerOf<WeightView, ConstTensorView>& weights;
  ConstTensorView offsets;  // [E+1] i64: expert e has rows [offsets[e], offsets[e+1])
  Stream& stream;
  // Of the one adapter that all rows go through, as `weights` are; null: none adds to experts.
  const LayerAdapter* adapter = nullptr;
};

class ExpertExchange {
 public:
  virtual ~ExpertExchange() = default;

  // rows: [R, D], R = offsets[E]; they stay as they are until turn() has returned.
  virtual void send(const ExpertCall& call, ConstTensorView rows) = 0;
  // Lets messages move while something else is computed; at any time.
  virtual void advance() {}
  // results: [R, D] = by receive(), in the order of the rows; may be the memory that was sent.
  virtual void turn(const ExpertCall& call, TensorView results) = 0;
  virtual void receive(const ExpertCall& call) = 0;
};

}  // namespace dure
