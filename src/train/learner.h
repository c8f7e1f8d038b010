// train/learner.h: what pretraining, fine-tuning and RL share: parameters, gradients, moments, and
// one update.
//
// Owns what is trained (the f32 masters of all weights, or an adapter beside a base that stays as
// it is stored), its gradients, the optimiser and the training pass; the weights that a Generator
// samples from are views of the same. Over several ranks every one of them has the masters of what
// it holds (all tensors, or all but other ranks' experts), computes its parts of a step, and owns
// the optimiser's state of its shards (shared_block.h, shared_adapter.h, docs/ranks.md). Not here:
// where batches come from (data/), the order of a run (run.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/mesh.h"
#include "formats/model_files.h"
#include "model/bf16_copies.h"
#include "model/expert_ranks.h"
#include "model/parameters.h"
#include "model/train_pass.h"
#include "tensor/host_array.h"
#include "train/checkpoint.h"
#include "train/gradient_norm.h"
#include "train/optimiser.h"
#include "train/shared_adapter.h"
#include "train/shared_block.h"
#include "train/stage_link.h"

namespace dure {

struct LearnerOptions {
  OptimiserOptions optimiser;
  TrainPassOptions pass;
  // b_e += rate * sign(mean load - load_e) after each update; 0: frozen
  double router_bias_rate = 0;
  Arithmetic arithmetic = Arithmetic::kExact;  // of products: exact, or bf16
  bool train_router = true;  // false: the router's matrix is neither moved nor decayed (RL)
  int64_t parts = 1;         // of a step's sums, over all ranks
  std::vector<int64_t> stage_layers = {};  // of each stage of a pipeline; empty: one stage
};

// Whether an update moves and decays a tensor; one that it leaves alone has no moments.
bool is_trained(const LearnerOptions& options, const ModelConfig& config,
                const ImpliedTensor& tensor);

// Elements of the optimiser's state of a tensor; what is not trained costs nothing but its place.
int64_t update_cost(const LearnerOptions& options, const ModelConfig& config,
                    const ImpliedTensor& tensor);

// What a rank of the mesh holds of a model that is trained; its layers as LearnerOptions has them.
Holding holding_of(const MeshShape& shape, const MeshPlace& place,
                   const std::vector<int64_t>& stage_layers = {});

// What a learner of an adapter starts from: of the base, in its stored types and mapped, what its
// rank holds.
struct AdapterStart {
  ModelWeights base;
  AdapterLayout layout;
  std::string base_name;  // as the adapter's files name it
  std::vector<AdapterFactors> factors = {};  // of an adapter that is there; empty: a new one
};

// Bytes of sums of gradients over ranks, sent and received; those of them that were through when
// the step's backward was done.
struct GradientTravel {
  int64_t bytes = 0, hidden = 0;
};

// Whether a backward is the last one of this rank's last part: gradients are complete as it goes.
enum class Backward : uint8_t { kMoreToCome, kLast };

struct UpdateResult {
  double gradient_norm = 0;  // before clipping
  double clip_factor = 1;
};

// The start of an adapter that `options` ask for, beside the model of `files`. `init` is its name
// for the adapter's files, `source` the configuration's for messages. `checkpoint`: where the run
// goes on; it has the layout of an adapter that options.from named, which may be gone.
AdapterStart start_adapter(const LoraOptions& options, std::shared_ptr<const ModelFiles> files,
                           Arithmetic arithmetic, const std::string& init,
                           const std::string& source, const Holding& holding = {},
                           const Path& checkpoint = {});

// Where a run's learner begins: what `lora` asks for beside the model of `files`, or all weights,
// those of `files` or, where there are none, new ones of `seed`; or with what is still to be loaded
// of a checkpoint.
struct LearnerStart {
  const LoraOptions& lora;
  const ModelConfig& config;
  std::shared_ptr<const ModelFiles> files;
  std::string init, source;  // as start_adapter() has them
  uint64_t seed = 0;
  Path checkpoint;  // empty: the run begins
};

class Learner {
 public:
  // Allocates everything: parameters, gradients, moments, activations. Throws kOutOfMemory.
  // `mesh` outlives it.
  Learner(const ModelConfig& config, const LearnerOptions& options, Stream& stream,
          Mesh& mesh = Mesh::alone());
  // The same for an adapter: nothing but its factors has gradients or moments, and no f32 copy of
  // the base is made. pass.adapter_rank is set here.
  Learner(AdapterStart start, const LearnerOptions& options, Stream& stream,
          Mesh& mesh = Mesh::alone());
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  const ModelConfig& config() const { return weights_.config; }
  // The f32 masters. Who writes to them says so: parameters_changed(). Checked: no adapter's.
  Parameters& parameters();
  // What is trained in their place, as far as it is held here; null where the weights themselves
  // are.
  AdapterParameters* adapter() { return adapter_ ? &adapter_->factors() : nullptr; }
  SharedAdapter* shared_adapter() { return adapter_ ? &*adapter_ : nullptr; }
  void parameters_changed();
  // Views of the masters, or of their BF16 copies: every update is seen at once. Where experts lie
  // on several ranks they are reached by an exchange: all of these make the same passes.
  const ModelWeights& weights() const { return weights_; }
  // The same views of what is held here, without the exchange.
  ModelWeights own_weights() const;
  ExpertExchange* exchange() { return exchanges_.empty() ? nullptr : exchanges_[0].get(); }
  Arithmetic arithmetic() const { return options_.arithmetic; }
  TrainPass& pass() { return pass_; }
  const std::vector<int64_t>& stage_layers() const { return options_.stage_layers; }
  StageLink& link() { return link_; }  // to the other stages of a pipeline, where there are any
  Stream& stream() { return stream_; }
  Optimiser& optimiser() { return optimiser_; }
  bool weights_finite();  // All of them, of all ranks.

  Mesh& mesh() { return mesh_; }
  Group& group() { return mesh_.batch(); }  // the ranks that share a step's parts
  int64_t part_count() const { return options_.parts; }
  // Those of this rank, one after another; next_part() stands between two of them.
  PartRange parts() const { return parts_of(mesh_.batch(), options_.parts); }
  void next_part() {
    for (SharedBlock& block : blocks_) block.next_part(stream_);
    if (adapter_) adapter_->next_part(stream_);
  }

  // Forward and backward of one micro-batch; gradients and expert counts add up until update().
  // Ranks that exchange experts' rows make as many passes in as many parts.
  const LossResult& accumulate(const TrainInput& input, const LossOptions& options);
  // The second half alone, after pass().forward() and token_log_probabilities(). Of the last one
  // gradients travel to the other ranks while it goes on; after it reduce() or update() alone.
  const LossResult& backward(const LossOptions& options, Backward which = Backward::kMoreToCome);
  // Rows of experts that went to other ranks and that came from them, of all layers, once a
  // forward.
  ExpertRows exchanged_rows() const;
  // Passes that every rank of an expert group makes in its part at hand where the step's `count`
  // are shared out by items_of_part(): the most of any of them. Those that a rank has not are idle.
  int64_t passes_in_part(int64_t count, int64_t part) const;
  // Of passes in flight (TrainPass::begin(), select()): the one at this place is worked on. Before
  // idle halves take_place() alone.
  void begin_pass(const TrainInput& input, int64_t place);
  void select_pass(int64_t place);
  void take_place(int64_t place);
  // In place of a micro-batch that has no rows, or of its halves.
  void idle_forward() { idle_forward(weights_); }
  void idle_forward(const ModelWeights& weights) { pass_.idle_forward(weights, stream_); }
  void idle_backward(Backward which = Backward::kMoreToCome);
  // Of all steps so far.
  GradientTravel gradient_travel() const;

  // All parts are done: expert counts and gradients of all ranks are summed, in the order of the
  // parts. update() does it where it was not done.
  void reduce();
  // Clips, steps, moves the router bias, clears gradients and counts. Over ranks each moves its
  // shard and gets the others' weights; the gradient norm, which all wait for, is where a step is
  // committed. Throws kDiverged, with
  // nothing changed, when the gradient norm is not finite. `where` names the step in the message.
  UpdateResult update(double learning_rate, const std::string& where);
  // Called by every update that will be, before weights or moments move: who reads them beside the
  // step is done by then. What it throws ends the update, with nothing changed.
  void set_before_moving(std::function<void()> call) { before_moving_ = std::move(call); }
  // As LossResult has them, since the last update.
  std::span<const int64_t> expert_counts() const { return expert_counts_.values(); }

  // model.safetensors under Hugging Face names (with config.json: a folder every verb opens), or
  // the adapter as a PEFT folder has it; and optimiser.safetensors. All ranks call it.
  void save(CheckpointContent& content);
  void load(const Checkpoint& checkpoint);
  // Writes the folder that ends a stage into that of its run, and replaces one of that name:
  // "model" (weights, config.json, and `texts`), or "adapter" (a PEFT folder). Weights that lie on
  // several ranks are those of the run's last checkpoint. One rank calls it.
  void export_result(const Path& run_folder, const ModelTexts& texts) const;
  // The file of it whose presence says that it was written.
  Path result_file(const Path& run_folder) const;

 private:
  std::vector<SharedBlock> make_blocks();
  std::vector<TrainedTensor> own_tensors();
  std::vector<TrainedTensor> adapter_tensors();
  void make_exchanges();
  bool owns(TensorId id) const;
  std::vector<NamedTensor> weight_tensors(bool own_alone) const;
  std::vector<NamedTensor> moments() const;
  const ModelGradients& current_gradients();
  GradientsComplete when_complete(Backward which);
  int64_t summed_bytes() const;
  double gradient_norm();
  void load_moments(const Checkpoint& checkpoint);
  bool may_leave_training(const std::string& moment) const;
  void move_router_bias();
  void save_adapter(CheckpointContent& content);
  void clear_counts();

  LearnerOptions options_;
  Stream& stream_;
  Mesh& mesh_;
  std::optional<Parameters> parameters_;
  std::vector<SharedBlock> blocks_;  // everything; or all but the routed experts, and those held
  std::optional<GradientNorm> norm_;
  std::optional<SharedAdapter> adapter_;
  std::string base_name_;
  ModelWeights weights_;
  std::optional<Bf16Copies> copies_;
  ModelGradients frozen_;  // of an adapter's base
  Optimiser optimiser_;
  TrainPass pass_;
  StageLink link_;
  // Where experts lie on several ranks: one for each pass that keeps what it computed.
  std::vector<std::unique_ptr<ExpertRanks>> exchanges_;
  size_t exchange_at_ = 0;  // of the pass that is worked on
  HostArray<int64_t> expert_counts_;
  bool reduced_ = false;
  std::function<void()> before_moving_;
  int64_t hidden_bytes_ = 0;  // of sums of gradients
};

// Makes the learner of a run.
void open_learner(const LearnerStart& start, const LearnerOptions& options, Stream& stream,
                  Mesh& mesh, std::optional<Learner>& out);

}  // namespace dure
