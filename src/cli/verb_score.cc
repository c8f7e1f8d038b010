// `dure score MODEL`: likelihood, logits and gradients of given ids or text: the exact instrument.
//
// Each row is a document of its own. Without --gradients rows go through the model in chunks over a
// KV cache, so a long text costs the memory of one chunk (the bits are those of one whole pass);
// with it, through the trainer's pass.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "chat/open_model.h"
#include "cli/adapter_flag.h"
#include "cli/args.h"
#include "cli/arithmetic_flag.h"
#include "cli/kv_type_flag.h"
#include "cli/token_ids.h"
#include "cli/verbs.h"
#include "data/input.h"
#include "engine/scorer.h"
#include "formats/hf_packing.h"
#include "kernels/cross_entropy.h"
#include "model/context_fit.h"
#include "model/load.h"
#include "model/train_pass.h"
#include "tensor/cpu_stream.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

struct ScoreArgs {
  std::string model;
  std::optional<std::string> ids, text, logits, gradients;
  AdapterFlag adapter;
  double mtp_coefficient = 0;
  ArithmeticFlag arithmetic{"exact"};
  KvTypeFlag kv_type{"f32"};
  bool json = false, force = false;
};

constexpr const char* kNothingWritten = "nothing was written";

std::string read_ids(const std::string& path) {
  return path == "-" ? read_stdin() : read_file(path);
}

void check_rows(const IdRows& rows, const ModelConfig& config, const std::string& where) {
  for (size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].empty()) fail(ErrorCode::kInvalidArgument, "{}: row {} has no tokens", where, r);
    for (size_t t = 0; t < rows[r].size(); ++t) {
      if (rows[r][t] < config.vocab_size) continue;
      fail(ErrorCode::kInvalidArgument,
           "{}: token {} of row {} is {}, the model's vocabulary has {}", where, t, r, rows[r][t],
           config.vocab_size);
    }
  }
}

struct Scored {
  std::vector<double> row_sum;  // of -log p, by row
  int64_t tokens = 0, predicted = 0;
  double mtp_sum = 0;
  int64_t mtp_predicted = 0;
  double total() const { return std::accumulate(row_sum.begin(), row_sum.end(), 0.0); }
  double mean() const { return predicted > 0 ? total() / static_cast<double>(predicted) : 0; }
};

// Rows of logits as raw little-endian float32, in the order of the input.
class LogitsFile {
 public:
  explicit LogitsFile(const std::optional<std::string>& path) {
    if (!path) return;
    scope_.emplace();  // An unfinished file is taken away.
    file_.emplace(*path);
  }
  explicit operator bool() const { return file_.has_value(); }
  void write(std::span<const float> logits) { file_->write(logits.data(), logits.size_bytes()); }
  void commit() {
    if (file_) file_->commit();
  }

 private:
  std::optional<InterruptScope> scope_;
  std::optional<StagedFile> file_;
};

// The targets of one row: the next token; the last predicts nothing.
std::vector<int32_t> next_tokens(const std::vector<int32_t>& ids) {
  std::vector<int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(kIgnore);
  return targets;
}

int64_t longest_of(const IdRows& rows) {
  size_t longest = 1;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  return static_cast<int64_t>(longest);
}

Scored score_in_chunks(const ModelWeights& weights, const IdRows& rows, DType kv_dtype,
                       LogitsFile& logits, Stream& stream) {
  Scorer scorer(weights,
                {.sequence_tokens_max = longest_of(rows),
                 .chunk_tokens = std::min<int64_t>(longest_of(rows), 512),
                 .sequences_max = 1,
                 .kv_dtype = kv_dtype},
                stream);
  Progress progress("score", static_cast<int64_t>(rows.size()), "rows");
  Scored out;
  for (const std::vector<int32_t>& row : rows) {
    const std::span<const int32_t> ids = row;
    double sum = 0;
    scorer.score({&ids, 1}, [&](const ScoredRows& scored) {
      throw_if_interrupted(kNothingWritten);
      if (logits) logits.write(scored.logits);
      for (const float p : scored.log_probability) sum -= p;
    });
    out.row_sum.push_back(sum);
    out.tokens += std::ssize(row);
    out.predicted += std::ssize(row) - 1;
    progress.update(std::ssize(out.row_sum));
  }
  return out;
}

void write_pass_logits(const ModelWeights& weights, TrainPass& pass, LogitsFile& out,
                       Stream& stream) {
  const TensorView hidden = pass.hidden();
  constexpr int64_t kRows = 64;
  const Buffer buffer =
      Buffer::of(DType::kF32, {kRows, weights.config.vocab_size}, stream.device());
  HostCopy<float> values(kRows * weights.config.vocab_size, stream.device());
  for (int64_t first = 0; first < hidden.dim(0); first += kRows) {
    const int64_t count = std::min(kRows, hidden.dim(0) - first);
    const TensorView logits = buffer.view(DType::kF32, {count, weights.config.vocab_size});
    head_logits(weights, hidden.rows(first, count), logits, stream,
                {.inner = pass.activations().adapter_inner()});
    out.write(values.of(logits, stream));
  }
}

// Of all weights, or of an adapter's factors beside a base that has none.
struct Gradients {
  ModelGradients weights;
  std::optional<ModelAdapterGradients> factors;
  const ModelAdapterGradients* adapter() const { return factors ? &*factors : nullptr; }
};

// One row a pass; gradients add up over the rows, divided by the counts of all of them.
Scored score_with_gradients(const ModelWeights& weights, const IdRows& rows, double mtp_coefficient,
                            LogitsFile& logits, const Gradients& gradients, Stream& stream) {
  TrainPass pass(weights.config, {.rows_max = longest_of(rows),
                                  .documents_max = 1,
                                  .mtp = mtp_coefficient != 0,
                                  .adapter_rank = weights.adapter_rank()});
  Progress progress("score", static_cast<int64_t>(rows.size()), "rows");
  LossOptions options{.mtp_coefficient = mtp_coefficient};
  for (const auto& row : rows) {
    options.valid_count += static_cast<int64_t>(row.size()) - 1;
    options.mtp_valid_count += std::max<int64_t>(0, static_cast<int64_t>(row.size()) - 2);
  }
  Scored out;
  for (const std::vector<int32_t>& row : rows) {
    throw_if_interrupted(kNothingWritten);
    const std::vector<int32_t> targets = next_tokens(row);
    const int64_t length = static_cast<int64_t>(row.size());
    pass.forward(weights, {.ids = row, .targets = targets, .document_lengths = {&length, 1}},
                 stream);
    if (logits) write_pass_logits(weights, pass, logits, stream);
    const LossResult& result =
        pass.backward(options, gradients.weights, stream, gradients.adapter());
    out.row_sum.push_back(result.loss_sum);
    out.tokens += length;
    out.predicted += result.valid;
    out.mtp_sum += result.mtp_loss_sum;
    out.mtp_predicted += result.mtp_valid;
    progress.update(static_cast<int64_t>(out.row_sum.size()));
  }
  return out;
}

// f32, as a Hugging Face folder of the family has its weights: its names, and experts packed where
// it packs them. A parameter that the loss does not reach has
// zeros.
void write_gradients(const std::string& path, const Parameters& gradients) {
  const std::vector<StoredTensor> tensors = stored_tensors(gradients.config());
  std::vector<TensorInfo> infos;
  for (const StoredTensor& tensor : tensors)
    infos.push_back({tensor.name, DType::kF32, tensor.shape});
  SafetensorsWriter writer(path, infos);
  const std::unique_ptr<TensorProvider> provider = provide(gradients);
  Buffer unused;
  const auto fetch = [&](const ImpliedTensor& part) { return provider->fetch(part, unused); };
  std::vector<float> values;
  for (const StoredTensor& tensor : tensors) {
    if (!tensor.packed) {
      writer.write(tensor.name, fetch(tensor.parts[0]));
      continue;
    }
    for (int64_t i = 0; i < tensor.pieces(); ++i) {
      packed_piece(tensor, i, gradients.config(), fetch, values);
      const int64_t bytes = static_cast<int64_t>(values.size() * sizeof(float));
      writer.write_piece(
          tensor.name, i * bytes,
          {reinterpret_cast<const char*>(values.data()), static_cast<size_t>(bytes)});
    }
  }
  writer.commit();
}

Json to_json(const Scored& s) {
  Json out = Json::object();
  out["rows"] = static_cast<int64_t>(s.row_sum.size());
  out["tokens"] = s.tokens;
  out["predicted_tokens"] = s.predicted;
  out["nll_sum"] = s.total();
  out["nll"] = s.predicted > 0 ? Json(s.mean()) : Json();
  out["perplexity"] = s.predicted > 0 ? Json(std::exp(s.mean())) : Json();
  out["row_nll_sum"] = Json::array_of(s.row_sum);
  if (s.mtp_predicted > 0) out["mtp_nll"] = s.mtp_sum / static_cast<double>(s.mtp_predicted);
  return out;
}

void print(const Scored& s, int64_t text_bytes) {
  std::printf("tokens      %lld in %zu row%s, %lld predicted\n", static_cast<long long>(s.tokens),
              s.row_sum.size(), s.row_sum.size() == 1 ? "" : "s",
              static_cast<long long>(s.predicted));
  if (s.predicted == 0) return;
  std::printf("nll         %.9g a token, %.9g in all\n", s.mean(), s.total());
  std::printf("perplexity  %.9g\n", std::exp(s.mean()));
  if (text_bytes > 0)
    std::printf("bits        %.9g a byte\n",
                s.total() / std::log(2.0) / static_cast<double>(text_bytes));
  if (s.mtp_predicted > 0)
    std::printf("mtp nll     %.9g a token\n", s.mtp_sum / static_cast<double>(s.mtp_predicted));
}

void require_finite(const Scored& s, const std::string& where) {
  for (size_t row = 0; row < s.row_sum.size(); ++row) {
    if (std::isfinite(s.row_sum[row])) continue;
    fail(ErrorCode::kDiverged,
         "{}: the likelihood of row {} is not finite: the model's weights are damaged, or its "
         "training diverged",
         where, row);
  }
}

// A likelihood is that of a token after another; logits alone need no second one.
void check_predicts(const IdRows& rows, const ScoreArgs& args, const std::string& where) {
  const bool predicts =
      std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.size() > 1; });
  if (predicts || (args.logits && !args.gradients)) return;
  fail(ErrorCode::kInvalidArgument,
       "{}: no row has two tokens: nothing is predicted; a row of one has logits alone (--logits)",
       where);
}

void check_outputs(const ScoreArgs& args) {
  for (const auto& path : {args.logits, args.gradients}) {
    if (path) check_replaceable_file(*path, args.force);
  }
  if (args.logits && args.logits == args.gradients)
    fail(ErrorCode::kInvalidArgument, "--logits and --gradients are both {}", *args.logits);
}

int run_score(const ScoreArgs& args) {
  if (args.ids.has_value() == args.text.has_value())
    fail(ErrorCode::kInvalidArgument, "give either --ids FILE or --text FILE");
  if (args.gradients && args.arithmetic.wanted() != Arithmetic::kExact)
    fail(ErrorCode::kInvalidArgument, "--gradients are exact: leave --arithmetic away");
  const DType kv_dtype = args.kv_type.wanted(args.arithmetic.wanted());
  if (args.gradients && kv_dtype != DType::kF32)
    fail(ErrorCode::kInvalidArgument, "--gradients keep every bit: leave --kv-type away");
  check_outputs(args);
  OpenModel model = open_model_to_read(args.model, args.arithmetic.wanted());
  args.adapter.add_to(model);
  if (args.mtp_coefficient != 0 && (!args.gradients || model.weights.config.mtp_layer_count == 0)) {
    fail(ErrorCode::kInvalidArgument,
         "--mtp-coefficient needs --gradients and a model with an MTP layer");
  }
  const std::string where = args.ids ? *args.ids : *args.text;
  if (where != "-" && !path_exists(where)) {
    fail(ErrorCode::kNotFound,
         "{}: no such file (for a text itself: printf TEXT | dure score {} --text -)", where,
         args.model);
  }
  const std::string content = args.ids ? read_ids(where) : read_text_input(where);
  const std::string input = where == "-" ? "standard input" : where;
  const IdRows rows = args.ids ? parse_id_rows(content, input)
                               : IdRows{model.texts.require_tokenizer().encode(content)};
  check_rows(rows, model.weights.config, input);
  check_predicts(rows, args, input);
  warn_beyond_context(model.weights.config, longest_of(rows), input);
  CpuStream stream;
  LogitsFile logits(args.logits);
  Scored scored;
  if (args.gradients && args.adapter.given) {
    const ModelConfig& config = model.weights.config;
    const AdapterParameters factors(config, read_adapter(args.adapter.path(), config).layout);
    Gradients gradients{.factors = factors.by_place()};
    gradients.weights.layers.resize(config.layers.size());
    scored =
        score_with_gradients(model.weights, rows, args.mtp_coefficient, logits, gradients, stream);
    require_finite(scored, args.model);
    write_peft_tensors(*args.gradients, config, factors.content(stream));
  } else if (args.gradients) {
    const Parameters gradients(model.weights.config);
    scored = score_with_gradients(model.weights, rows, args.mtp_coefficient, logits,
                                  {.weights = gradients.by_place()}, stream);
    require_finite(scored, args.model);
    write_gradients(*args.gradients, gradients);
  } else {
    scored = score_in_chunks(model.weights, rows, kv_dtype, logits, stream);
    require_finite(scored, args.model);
  }
  logits.commit();
  if (args.json) {
    std::printf("%s\n", to_json(scored).dump().c_str());
  } else {
    print(scored, args.text ? static_cast<int64_t>(content.size()) : 0);
  }
  return 0;
}

}  // namespace

std::function<int()> declare_score(Args& args) {
  const auto a = std::make_shared<ScoreArgs>();
  args.positional("MODEL", a->model, "Hugging Face folder, GGUF file, checkpoint or repo id");
  args.option(
      "--ids", a->ids,
      "a file of token ids: a JSON list, a list of lists (rows), or numbers; - for standard input");
  args.option("--text", a->text,
              "a file of text, encoded by the model's tokenizer as one row; - for standard input");
  args.option("--logits", a->logits, "write raw float32 [T, V], rows in order");
  args.option("--gradients", a->gradients,
              "write the gradient of the mean loss for every parameter (with --adapter: for every "
              "factor of it), as safetensors");
  a->adapter.declare(args);
  args.option("--mtp-coefficient", a->mtp_coefficient,
              "add this times the MTP layer's mean loss before taking gradients");
  a->arithmetic.declare(args);
  a->kv_type.declare(args);
  args.flag("--force", a->force,
            "replace the files of --logits and --gradients where they are there");
  args.flag("--json", a->json, "one JSON object instead of lines");
  args.examples(
      "  dure score ./model --ids ids.json\n"
      "  echo '[[5, 17, 2], [5, 9]]' | dure score ./model --ids - --logits logits.f32\n"
      "  dure score ./model --text chapter.txt --gradients gradients.safetensors\n");
  return [a] { return run_score(*a); };
}

}  // namespace dure
