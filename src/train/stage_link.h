// train/stage_link.h: hidden rows and their gradients between the stages of a pipeline.
//
// What is sent is handed over and travels beside the work, so that stages wait only for what they
// need next. Rows go from a stage to the next one, gradients back with the balance loss of the
// layers behind, so that it is summed in the order of one process. The rows that the MTP layer
// reads of the embedding go from the first stage to the last, their gradients back. Not here: the
// order of passes (pipeline_schedule.h, step_passes.h), the layers (model/train_pass.h).
#pragma once

#include <string_view>
#include <vector>

#include "comm/group.h"
#include "model/train_pass.h"
#include "tensor/host_array.h"
#include "train/pipeline_schedule.h"

namespace dure {

class StageLink {
 public:
  // `pipeline`: the stages in order; outlives it. elements_max: of a pass's hidden rows.
  StageLink(Group& pipeline, int64_t elements_max, Stream& stream)
      : pipeline_(pipeline),
        stream_(stream),
        place_{pipeline.rank(), pipeline.size()},
        room_(pipeline.size() > 1 ? elements_max : 0, stream.device()) {}

  const StagePlace& place() const { return place_; }
  Group& pipeline() { return pipeline_; }

  // All of the pass that `pass` works on. mtp: with the MTP layer's rows.
  void send_rows(TrainPass& pass, bool mtp);
  void receive_rows(TrainPass& pass, bool mtp);
  // `balance`: the balance loss of this stage's layers and those behind.
  void send_gradient(TrainPass& pass, double balance, bool mtp);
  double receive_gradient(TrainPass& pass, bool mtp);

 private:
  int last() const { return pipeline_.size() - 1; }
  void send(int to, ConstTensorView rows, std::span<const double> more = {});
  void receive(int from, TensorView rows, std::string_view what, std::span<double> more = {});

  Group& pipeline_;
  Stream& stream_;
  StagePlace place_;
  HostCopy<float> room_;          // of what is sent
  std::vector<std::byte> taken_;  // what arrived
};

}  // namespace dure
