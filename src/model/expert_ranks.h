// model/expert_ranks.h: an exchange between ranks that own a layer's experts together and run the
// same passes, each over tokens of its own (comm/mesh.h: the expert axis).
//
// Rank p of n owns experts [E p / n, E (p + 1) / n) of every sparse layer. Each layer and way is
// two exchanges: rows to their owners (before them, in the forward, how many), results back. Owns
// what an owner keeps for the backward: rows that came, one layer behind the other. Their number is
// bounded by every token of every rank choosing as many of one rank's experts as it may; memory is
// planned for that, and touched as far as rows come. A rank without rows takes part with none
// (TrainPass::idle_forward). Not here: the products (experts.h), who sums gradients (train/).
#pragma once

#include <memory>
#include <vector>

#include "comm/group.h"
#include "model/expert_exchange.h"
#include "model/experts.h"
#include "model/train_pass.h"

namespace dure {

// With other ranks.
struct ExpertRows {
  int64_t sent = 0, received = 0;
};

class ExpertRanks : public ExpertExchange {
 public:
  // options: of the passes of all ranks, alike. Allocates bytes(). Throws kOutOfMemory.
  ExpertRanks(const ModelConfig& config, const TrainPassOptions& options, Group& group,
              Device device);
  ~ExpertRanks() override;
  static int64_t bytes(const ModelConfig& config, const TrainPassOptions& options, int64_t ranks);

  // Of each source, in the group's order: what gradients of its rows are added to. Before a
  // backward; the blocks outlive it.
  struct Source {
    const ModelGradients* weights = nullptr;
    const ModelAdapterGradients* adapter = nullptr;  // null: frozen, or there is none
  };
  void add_to(std::vector<Source> by_source);

  // Of all forwards of all layers so far; a backward exchanges as many again.
  ExpertRows exchanged() const;

  void send(const ExpertCall& call, ConstTensorView rows) override;
  void advance() override;
  void turn(const ExpertCall& call, TensorView results) override;
  void receive(const ExpertCall& call) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
