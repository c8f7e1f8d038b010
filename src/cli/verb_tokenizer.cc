// `dure tokenizer train|encode|decode`: trains a tokenizer from text; ids of lines and lines of
// ids.
#include <charconv>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/args.h"
#include "cli/token_ids.h"
#include "cli/verbs.h"
#include "data/corpus.h"
#include "data/input.h"
#include "data/jsonl.h"
#include "data/model_texts.h"
#include "data/records.h"
#include "formats/model_folder.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer.h"

namespace dure {
namespace {

struct TrainArgs {
  std::vector<std::string> inputs, special;
  std::string out;
  int64_t vocab_size = BpeTrainerOptions{}.vocab_size, words_size = 0;
  double superword_share = BpeTrainerOptions{}.superword_share;
  bool force = false;
};

std::string place(const std::string& file, int64_t line) {
  return fmt::format("{}:{}", file.empty() || file == "-" ? "standard input" : file, line);
}

// Feeds the trainer; a JSONL document or a line of a text file is one sequence.
class Feeder {
 public:
  explicit Feeder(BpeTrainer& trainer) : trainer_(trainer), progress_("reading", 0, "sequences") {}

  void add_input(const Path& path) {
    if (std::filesystem::is_directory(path))
      return add_file(train_file((corpus_manifest(path), path)));
    add_file(path);
  }
  int64_t finish() {
    progress_.update(count_);
    progress_.finish();
    if (bad_.count() > 0) log_warn("{} records could not be used", bad_.count());
    return count_;
  }

 private:
  void add_file(const Path& path) {
    const std::string extension = content_extension(path);
    if (extension == ".jsonl" || extension == ".json" || extension == ".ndjson")
      return add_jsonl(path);
    LineReader lines(path);
    std::string line;
    while (lines.next(line)) {
      if (!is_utf8(line)) require_utf8(line, place(path.string(), lines.number()));
      add(line);
    }
  }
  void add_jsonl(const Path& path) {
    JsonlReader reader(path);
    Record record;
    for (auto outcome = reader.next(record); outcome != JsonlReader::Outcome::kEnd;
         outcome = reader.next(record)) {
      if (outcome == JsonlReader::Outcome::kBad) {
        bad_.add(reader.place(), 0, reader.problem());
      } else if (!record.is_chat()) {
        add(record.text);
      }
    }
  }
  void add(const std::string& text) {
    trainer_.add(text);
    if (++count_ % 1024 != 0) return;
    progress_.update(count_);
    throw_if_interrupted("nothing was written");
  }

  BpeTrainer& trainer_;
  Progress progress_;
  BadRecords bad_;
  int64_t count_ = 0;
};

// A tokenizer goes by --force alone. That of a model or of a run never: its ids are in the weights.
void check_out(const Path& out, bool force) {
  if (!path_exists(out)) return;
  const auto refuse = [&](const char* what) {
    fail(ErrorCode::kInvalidArgument, "{} {}", out.string(), what);
  };
  if (!std::filesystem::is_directory(out)) refuse("is a file; name a folder");
  if (path_exists(out / "config.json") || path_exists(out / "checkpoints") || holds_weights(out))
    refuse("holds a model or a run, whose tokenizer has to stay; give another folder");
  const bool there =
      path_exists(out / "tokenizer.json") || path_exists(out / "tokenizer_config.json");
  if (there && !force)
    refuse("has a tokenizer already; give another name, or --force to replace it");
}

int run_train(const TrainArgs& args) {
  if (args.out.empty())
    fail(ErrorCode::kInvalidArgument,
         "--out is missing: the folder for tokenizer.json and tokenizer_config.json");
  check_out(args.out, args.force);
  BpeTrainerOptions options;
  options.vocab_size = args.vocab_size;
  options.words_size = args.words_size;
  options.superword_share = args.superword_share;
  if (!args.special.empty()) options.special_tokens = args.special;
  std::unique_ptr<Progress> progress;
  options.progress = [&](int64_t token_count, const char* stage) {
    if (!progress) progress = std::make_unique<Progress>("learning", args.vocab_size, "tokens");
    progress->update(token_count, stage);
    throw_if_interrupted("nothing was written");
  };
  const InterruptScope scope;
  BpeTrainer trainer(options);
  Feeder feeder(trainer);
  for (const std::string& input : args.inputs) feeder.add_input(input);
  const int64_t sequence_count = feeder.finish();
  if (trainer.byte_count() == 0)
    fail(ErrorCode::kInvalidArgument, "no text in the files given: nothing to learn from");
  const Tokenizer tokenizer = trainer.train();
  if (progress) {
    progress->update(tokenizer.vocab_size());
    progress->finish();
  }
  if (tokenizer.vocab_size() < args.vocab_size) {
    log_warn("the text has pairs for {} tokens only, not for the {} asked for",
             tokenizer.vocab_size(), args.vocab_size);
  }
  tokenizer.save(args.out);
  std::printf("%s: %lld tokens (%lld superwords) from %lld sequences, %s\n", args.out.c_str(),
              static_cast<long long>(tokenizer.vocab_size()),
              static_cast<long long>(trainer.superword_count()),
              static_cast<long long>(sequence_count),
              format_bytes(static_cast<double>(trainer.byte_count())).c_str());
  return 0;
}

struct CodeArgs {
  std::string model, file;
  bool json = false, special_as_text = false, skip_special = false;
};

Tokenizer tokenizer_of(const std::string& model) {
  const Path path = find_model(model);
  const bool file = !std::filesystem::is_directory(path);
  if (file && path.extension() != ".json" && !is_gguf(path)) {
    refuse_mistaken_file(path);
    fail(ErrorCode::kUnsupported,
         "{}: neither a folder, a tokenizer.json nor a GGUF file; MODEL comes first, then FILE",
         path.string());
  }
  return load_tokenizer(path);
}

// Lines that end with "\n" alone: a "\r" before it is text like any other (LineReader of data/
// drops it).
class RawLines {
 public:
  explicit RawLines(const Path& path) : source_(open_input(path)) {}
  bool next(std::string& line) {
    line.clear();
    while (true) {
      if (position_ == end_) {
        position_ = 0;
        end_ = source_->read(buffer_);
        if (end_ == 0) return !line.empty();
      }
      const std::string_view rest(buffer_.data() + position_, end_ - position_);
      const size_t newline = rest.find('\n');
      line += rest.substr(0, newline);
      position_ = newline == std::string_view::npos ? end_ : position_ + newline + 1;
      if (newline != std::string_view::npos) return true;
    }
  }

 private:
  std::unique_ptr<ByteSource> source_;
  std::vector<char> buffer_ = std::vector<char>(1 << 16);
  size_t position_ = 0, end_ = 0;
};

// Lines in batches: each line's result is made on any thread, and written in order.
template <typename Work>
void for_each_line(const std::string& file, const Work& work) {
  constexpr size_t kBatchBytes = 8 << 20;
  ThreadPool pool;
  RawLines reader(file.empty() || file == "-" ? Path("/dev/stdin") : Path(file));
  std::vector<std::string> lines, results;
  const auto flush = [&](int64_t first_number) {
    results.resize(lines.size());
    pool.parallel_for(static_cast<int64_t>(lines.size()), [&](int64_t i, int) {
      results[static_cast<size_t>(i)] = work(lines[static_cast<size_t>(i)], first_number + i);
    });
    for (size_t i = 0; i < lines.size(); ++i) {
      if (std::fwrite(results[i].data(), 1, results[i].size(), stdout) != results[i].size())
        fail_errno("cannot write standard output");
    }
    lines.clear();
    throw_if_interrupted("the lines so far were written");
  };
  std::string line;
  size_t bytes = 0;
  int64_t first_number = 1;
  while (reader.next(line)) {
    bytes += line.size();
    lines.push_back(std::move(line));
    if (bytes < kBatchBytes && lines.size() < 65'536) continue;
    const int64_t count = static_cast<int64_t>(lines.size());
    flush(first_number);
    first_number += count;
    bytes = 0;
  }
  flush(first_number);
  if (std::fflush(stdout) != 0) fail_errno("cannot write standard output");
}

std::string ids_line(const std::vector<int32_t>& ids, bool json) {
  std::string out = json ? "[" : "";
  char digits[16];
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += json ? "," : " ";
    out.append(digits, std::to_chars(digits, digits + sizeof(digits), ids[i]).ptr);
  }
  return out += json ? "]\n" : "\n";
}

int run_encode(const CodeArgs& args) {
  const Tokenizer tokenizer = tokenizer_of(args.model);
  for_each_line(args.file, [&](const std::string& line, int64_t number) {
    // The first line shows UTF-16 and compressed files, whose bytes may be UTF-8 by chance.
    if (number == 1 || !is_utf8(line)) require_utf8(line, place(args.file, number));
    return ids_line(tokenizer.encode(line, {.special_as_text = args.special_as_text}), args.json);
  });
  return 0;
}

int run_decode(const CodeArgs& args) {
  const Tokenizer tokenizer = tokenizer_of(args.model);
  for_each_line(args.file, [&](const std::string& line, int64_t number) {
    const std::string where = place(args.file, number);
    const std::vector<int32_t> ids = parse_id_row(line, where);
    for (const int32_t id : ids) {
      if (id >= tokenizer.vocab_size()) {
        fail(ErrorCode::kInvalidArgument, "{}: id {} is outside the vocabulary of {}", where, id,
             tokenizer.vocab_size());
      }
    }
    const std::string text = tokenizer.decode(ids, {.skip_special = args.skip_special});
    return (args.json ? json_quote(text) : text) + "\n";
  });
  return 0;
}

void declare_train_tokenizer(Args& parent) {
  auto given = std::make_shared<TrainArgs>();
  Args& args = parent.verb("train", "a byte-level SuperBPE tokenizer from text",
                           [given] { return run_train(*given); });
  args.positionals("FILE", given->inputs,
                   "text (a sequence a line), JSONL with a \"text\" field (a sequence a record), "
                   ".gz, .zst, or a prepared corpus");
  args.option("--vocab-size", given->vocab_size, "tokens in all");
  args.option("--words-size", given->words_size,
              "tokens after stage one (0: from --superword-share)");
  args.option("--superword-share", given->superword_share,
              "share of the vocabulary learnt across spaces");
  args.options("--special", given->special,
               "a special token; repeat for more, in order (default: those of the family)");
  args.option("-o,--out", given->out, "folder for tokenizer.json and tokenizer_config.json");
  args.flag("--force", given->force, "replace the tokenizer that is in the folder");
  args.examples(
      "  dure tokenizer train book.txt --vocab-size 8192 --out my-tokenizer\n"
      "  dure tokenizer train runs/corpus --vocab-size 4096 --superword-share 0.1 -o "
      "runs/tokenizer\n");
}

void declare_code(Args& parent) {
  auto encode = std::make_shared<CodeArgs>();
  Args& to_ids =
      parent.verb("encode", "lines of text to token ids", [encode] { return run_encode(*encode); });
  to_ids.positional("MODEL", encode->model, "a model folder, a tokenizer.json, or a GGUF file");
  to_ids.positional("FILE", encode->file, "text, a sequence a line (default: standard input)",
                    false);
  to_ids.flag("--json", encode->json, "one JSON array a line");
  to_ids.flag("--special-as-text", encode->special_as_text,
              "spell special tokens out instead of recognising them");
  to_ids.examples("  echo 'Hello there' | dure tokenizer encode my-model --json\n");
  auto decode = std::make_shared<CodeArgs>();
  Args& to_text =
      parent.verb("decode", "token ids to lines of text", [decode] { return run_decode(*decode); });
  to_text.positional("MODEL", decode->model, "a model folder, a tokenizer.json, or a GGUF file");
  to_text.positional("FILE", decode->file,
                     "ids, a sequence a line: `1 2 3` or `[1,2,3]` (default: standard input)",
                     false);
  to_text.flag("--json", decode->json,
               "each line as a JSON string (texts with line breaks stay one line)");
  to_text.flag("--skip-special", decode->skip_special, "leave special tokens out");
  to_text.examples(
      "  dure tokenizer encode my-model book.txt --json | dure tokenizer decode my-model\n");
}

}  // namespace

std::function<int()> declare_tokenizer(Args& args) {
  declare_train_tokenizer(args);
  declare_code(args);
  return {};
}

}  // namespace dure
