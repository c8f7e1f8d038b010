// `dure quantize IN OUT TYPE`: a model's matrices in fewer bits, as one GGUF file.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stale_files.h"
#include "cli/args.h"
#include "cli/convert_model.h"
#include "cli/verbs.h"
#include "formats/gguf_model.h"
#include "quantise/quantise_model.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

struct QuantizeArgs {
  std::string in, out, type;
  std::optional<std::string> imatrix, rules;
  bool pure = false, force = false;
};

// "A, B, C and 4 more".
std::string list_some(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 3); ++i) {
    if (i > 0) out += ", ";
    out += names[i];
  }
  return names.size() > 3 ? fmt::format("{} and {} more", out, names.size() - 3) : out;
}

void say_fallbacks(const std::vector<TypeChoice>& choices) {
  std::map<std::tuple<DType, DType, int64_t>, std::vector<std::string>> groups;
  for (const TypeChoice& tensor : choices) {
    if (tensor.fell_back())
      groups[{tensor.wanted, tensor.info.dtype, tensor.info.shape.back()}].push_back(
          tensor.info.name);
  }
  for (const auto& [key, names] : groups) {
    const auto& [wanted, got, columns] = key;
    log_warn("rows of {} are no whole {} blocks of {}: {} instead for {}", columns,
             dtype_info(wanted).name, dtype_info(wanted).block_elements, dtype_info(got).name,
             list_some(names));
  }
}

void say_requantised(const ModelFiles& files, const std::vector<TypeChoice>& choices) {
  std::vector<std::string> names;
  for (const TypeChoice& tensor : choices) {
    const DType stored = files.dtype(
        {tensor.id.role, tensor.id.layer, is_expert(tensor.id.role) ? int64_t{0} : int64_t{-1}});
    if (is_block(stored) && stored != tensor.info.dtype) names.push_back(tensor.info.name);
  }
  if (!names.empty())
    log_warn("{} is quantised already: the errors of both passes add up in {}",
             files.path().string(), list_some(names));
}

void say_unreached(const std::vector<QuantisedTensor>& tensors) {
  std::vector<std::string> names;
  int64_t experts = 0;
  for (const QuantisedTensor& tensor : tensors) {
    if (tensor.experts_unreached == 0) continue;
    experts += tensor.experts_unreached;
    names.push_back(fmt::format("{} ({})", tensor.name, tensor.experts_unreached));
  }
  if (experts > 0)
    log_warn(
        "the text of the importance matrix never reached {} expert matrices, for which the mean "
        "over the layer's others stood in: {}",
        experts, list_some(names));
}

void say_unweighted(const std::vector<QuantisedTensor>& tensors) {
  std::vector<std::string> names;
  for (const QuantisedTensor& tensor : tensors)
    if (is_block(tensor.to) && !tensor.weighted) names.push_back(tensor.name);
  if (!names.empty()) log_info("without an entry in the importance matrix: {}", list_some(names));
}

struct Row {
  int64_t tensors = 0, elements = 0, before = 0, after = 0;
  EncodeError error;
  void add(const QuantisedTensor& tensor) {
    ++tensors;
    elements += tensor.elements;
    before += tensor.bytes_before;
    after += tensor.bytes_after;
    error.add(tensor.error);
  }
};

void print_row(std::string_view name, const Row& row, bool weighted) {
  fmt::print("{:<8} {:>7} {:>9} {:>11} {:>11} {:>7.3f} {:>14.3e}", name, row.tensors,
             format_count(static_cast<double>(row.elements)),
             format_bytes(static_cast<double>(row.before)),
             format_bytes(static_cast<double>(row.after)),
             8.0 * static_cast<double>(row.after) / static_cast<double>(row.elements),
             row.error.relative());
  if (weighted) fmt::print(" {:>13.3e}", row.error.weighted_relative());
  fmt::print("\n");
}

void print_table(const std::vector<QuantisedTensor>& tensors, bool weighted) {
  std::map<DType, Row> rows;
  Row all;
  const QuantisedTensor* worst = nullptr;
  for (const QuantisedTensor& tensor : tensors) {
    rows[tensor.to].add(tensor);
    all.add(tensor);
    if (worst == nullptr || tensor.error.relative() > worst->error.relative()) worst = &tensor;
  }
  fmt::print("{:<8} {:>7} {:>9} {:>11} {:>11} {:>7} {:>14}{}\n", "type", "tensors", "weights",
             "before", "after", "bits", "relative RMSE", weighted ? "      weighted" : "");
  for (const auto& [type, row] : rows) print_row(dtype_info(type).name, row, weighted);
  print_row("all", all, weighted);
  if (worst != nullptr && worst->error.relative() > 0)
    fmt::print("worst tensor: {} in {}, relative RMSE {:.3e}\n", worst->name,
               dtype_info(worst->to).name, worst->error.relative());
}

void add_quantisation_keys(const QuantizeArgs& args, const TypeChoiceOptions& options,
                           const std::vector<TypeChoice>& choices,
                           const std::optional<ImportanceMatrix>& importance, GgufMetadata& out) {
  out.set("general.file_type", GgufValue::u32(options.mixture.file_type));
  const bool blocks = std::any_of(choices.begin(), choices.end(),
                                  [](const auto& tensor) { return is_block(tensor.info.dtype); });
  if (blocks) out.set("general.quantization_version", GgufValue::u32(2));
  for (const char* key : {"file", "dataset", "entries_count", "chunks_count"})
    out.erase(std::string("quantize.imatrix.") + key);
  if (!importance) return;
  out.set("quantize.imatrix.file", GgufValue::string(*args.imatrix));
  if (!importance->datasets.empty())
    out.set("quantize.imatrix.dataset", GgufValue::string(importance->datasets.front()));
  out.set("quantize.imatrix.entries_count",
          GgufValue::u32(static_cast<int64_t>(importance->entries.size())));
  out.set("quantize.imatrix.chunks_count", GgufValue::u32(importance->chunk_count));
}

void check_output(const QuantizeArgs& args, const ModelFiles& files) {
  const Path out = args.out;
  if (out.extension() != ".gguf")
    fail(ErrorCode::kInvalidArgument, "{}: the name of a .gguf file is needed", args.out);
  check_replaceable(files, out, args.force);
}

int quantize(const QuantizeArgs& args) {
  if (Path(args.type).extension() == ".gguf") {
    fail(ErrorCode::kInvalidArgument,
         "TYPE is '{}': the order is IN OUT TYPE, so `dure quantize {} {} {}`", args.type, args.in,
         args.type, args.out);
  }
  TypeChoiceOptions options{.mixture = find_mixture(args.type), .pure = args.pure};
  if (args.rules) options.rules = parse_type_rules(load_yaml(*args.rules), *args.rules);
  std::optional<ImportanceMatrix> importance;
  if (args.imatrix) importance = read_importance(*args.imatrix);
  options.has_importance = importance.has_value();
  const ModelFiles files(find_model(args.in));
  check_output(args, files);
  QuantiseJob job{.files = files,
                  .choices = choose_types(files.config(), options),
                  .importance = importance ? &*importance : nullptr,
                  .out = args.out,
                  .metadata = gguf_metadata_of(files)};
  add_quantisation_keys(args, options, job.choices, importance, job.metadata);
  check_importance(job);
  remove_stale_temporaries(job.out);
  if (!other_programs_know(files.config()))
    log_warn(
        "{}: llama.cpp's exaone-moe cannot say this model's layers; written as architecture "
        "'dure-exaone-moe', which other programs refuse",
        args.out);
  say_fallbacks(job.choices);
  say_requantised(files, job.choices);
  int64_t elements = 0;
  for (const TypeChoice& tensor : job.choices) elements += tensor.info.elements();
  CpuStream stream;
  Progress progress("quantize", elements, "weights");
  const std::vector<QuantisedTensor> done =
      quantise_model(job, stream, [&](int64_t count) { progress.update(count); });
  progress.finish();
  if (importance) {
    say_unreached(done);
    say_unweighted(done);
  }
  print_table(done, importance.has_value());
  fmt::print("quantised: {} -> {}, {}\n", files.path().string(), args.out,
             format_bytes(static_cast<double>(file_size(args.out))));
  return 0;
}

std::string type_list() {
  std::string out = "TYPE, in bits a weight:\n";
  for (const Mixture& mixture : mixtures())
    out += fmt::format("  {:<7} {}\n", mixture.name, mixture.summary);
  return out;
}

}  // namespace

std::function<int()> declare_quantize(Args& args) {
  auto options = std::make_shared<QuantizeArgs>();
  args.positional("IN", options->in, "a model's folder, GGUF file (the first of a set) or repo id");
  args.positional("OUT", options->out, "a name ending in .gguf");
  args.positional("TYPE", options->type, "what most matrices become, such as Q4_K_M; listed below");
  args.option(
      "--imatrix", options->imatrix,
      "an importance matrix (of `dure imatrix` or llama-imatrix): errors are weighted by it");
  args.option(
      "--rules", options->rules,
      "a YAML file of types by name, role or layer, over the mixture (docs/quantisation.md)");
  args.flag("--pure", options->pure, "the same type for every matrix, without a mixture");
  args.flag("--force", options->force, "replace OUT where it is there");
  static const std::string footer =
      "  dure quantize ./release model-q8_0.gguf Q8_0\n"
      "  dure imatrix ./release text.txt --out importance.gguf\n"
      "  dure quantize ./release model-q4_k_m.gguf Q4_K_M --imatrix importance.gguf\n"
      "  dure quantize model-f16.gguf mixed.gguf Q4_K_M --rules rules.yaml\n\n"
      "rules.yaml, first match wins:\n"
      "  rules:\n"
      "    - {role: attention, type: Q8_0}\n"
      "    - {match: 'ffn_down_(exps|shexp)', layers: 0-3, type: Q6_K}\n\n" +
      type_list();
  args.examples(footer.c_str());
  return [options] { return quantize(*options); };
}

}  // namespace dure
