// Rounding of x, the cut into tasks, and the loop of a task over panels and rows.
#include "kernels/cpu/integer8.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "kernels/cpu/integer8_panel.h"
#include "kernels/cpu/integer8_round_simd.h"
#include "kernels/cpu/parallel_rows.h"
#include "kernels/isa.h"

namespace dure::cpu {
namespace {

constexpr int64_t kRowsOfTask = 256;  // Their results, 32 KiB a tile, stay in a cache.
constexpr int64_t kTilesOfTask = 16;  // at most: the first one of a task is not fetched ahead
constexpr int64_t kTasksPerThread = 8;

// A product, and how it is cut: parts (experts), row chunks, column strips.
struct Job {
  const Product* product;
  const IntegerFormat* format;
  int64_t tiles_of_strip = 1;

  int64_t strips() const {
    return divide_up(divide_up(product->w.rows(), kTileColumns), tiles_of_strip);
  }
};

// One task: a strip of one expert's columns for a chunk of its rows.
struct Task {
  const Job* job;
  int64_t part, row_begin, row_end, tile_begin, tile_end;
};

// ---- x in 8 bits

RoundedRows rounded(ConstTensorView x, int block, CpuStream& stream) {
  RoundedRows out;
  out.rows = x.dim(0);
  out.groups = divide_up(x.dim(1), kPanelElements);
  out.scales_per_group = kPanelElements / block;
  const auto cells = static_cast<size_t>(out.rows * out.groups);
  // Behind the last group lie rows that a body may read and use nothing of.
  const auto values_bytes =
      static_cast<size_t>(out.groups * out.group_bytes() + kRowsReadable * kPanelElements);
  const size_t sums_bytes = cells * 16 * sizeof(int16_t);
  const size_t scales_bytes = cells * static_cast<size_t>(out.scales_per_group) * sizeof(float);
  auto* const room =
      static_cast<char*>(stream.shared_scratch(values_bytes + sums_bytes + scales_bytes));
  out.values = reinterpret_cast<int8_t*>(room);
  out.sums = reinterpret_cast<int16_t*>(room + values_bytes);
  out.scales = reinterpret_cast<float*>(room + values_bytes + sums_bytes);
  parallel_rows(stream, out.rows, x.dim(1), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      round_row(x.f32() + r * x.dim(1), x.dim(1), block, r, out);
  });
  return out;
}

// ---- a task

// What all tasks of a call share.
struct Call {
  const Integer8Body& body;
  RoundedRows x;
  std::span<const int64_t> offsets;
  const int32_t* take;  // or null
  CpuStream& stream;

  int64_t row_of(int64_t r) const { return take == nullptr ? r : take[r]; }
};

PanelRows stored_rows(const WeightView& w, int64_t part, int64_t panel) {
  const int64_t bytes = row_bytes(w.dtype(), w.columns()), last = w.rows() - 1;
  const auto* const first = reinterpret_cast<const uint8_t*>(w.part(part));
  PanelRows rows;
  for (int64_t c = 0; c < kPanelColumns; ++c)
    rows.at[c] = first + std::min(panel * kPanelColumns + c, last) * bytes;
  return rows;
}

// What a worker has for a task.
struct Room {
  Panel* panels = nullptr;
  float* results = nullptr;    // [rows of the task, 32] of one tile
  int8_t* gathered = nullptr;  // null, or the rows' values as in RoundedRows, in the task's order
};

int64_t readable_rows(int64_t rows) { return divide_up(rows, kRowsReadable) * kRowsReadable; }

// A task with its worker's room.
struct Run {
  const Call& call;
  const Integer8Body& body;
  const Task& task;
  Room room;

  int64_t count() const { return task.row_end - task.row_begin; }
  int8_t* gathered_at(int64_t g, int64_t i) const {
    return room.gathered + (g * readable_rows(count()) + i) * kPanelElements;
  }
  // Row i of the task.
  const int8_t* values_at(int64_t g, int64_t i) const {
    if (room.gathered != nullptr) return gathered_at(g, i);
    return call.x.values_at(g, call.row_of(task.row_begin + i));
  }
};

void gather(const Run& run) {
  for (int64_t g = 0; g < run.call.x.groups; ++g) {
    for (int64_t i = 0; i < run.count(); ++i)
      std::memcpy(run.gathered_at(g, i),
                  run.call.x.values_at(g, run.call.row_of(run.task.row_begin + i)), kPanelElements);
  }
}

// The lists of a RowBlock.
struct RowLists {
  const int8_t* values[kRowBlockMax];
  const float* scales[kRowBlockMax];
  const int16_t* sums[kRowBlockMax];
  float* y[kRowBlockMax];
};

// Rows of a task's blocks: of nearly the same size, or all that a body takes together.
int64_t rows_of_block(const Run& run) {
  const int64_t most = run.body.row_block;
  return run.body.rows_together ? most : divide_up(run.count(), divide_up(run.count(), most));
}

RowBlock row_block(const Run& run, int64_t g, int64_t first, int64_t most, RowLists& lists) {
  const RoundedRows x = run.call.x;  // A copy: stores to the lists leave it alone.
  const int32_t* const take = run.call.take;
  const int64_t begin = run.task.row_begin + first;
  const auto count = static_cast<int>(std::min(most, run.count() - first));
  float* y = run.room.results + first * kTileColumns;
  for (int i = 0; i < count; ++i, y += kTileColumns) {
    const int64_t r = take == nullptr ? begin + i : take[begin + i];
    lists.values[i] = x.values_at(g, r);
    lists.scales[i] = x.scales_at(g, r);
    lists.sums[i] = x.sums_at(g, r);
    lists.y[i] = y;
  }
  if (run.room.gathered != nullptr) {
    for (int i = 0; i < count; ++i) lists.values[i] = run.gathered_at(g, first + i);
  }
  return {count, lists.values, lists.scales, lists.sums, lists.y};
}

// The stored rows of the tile after this one, which are fetched meanwhile. The 32 rows of a tile
// lie one after another: read in that order they are one stream, which a processor follows at full
// bandwidth; read row by row for each group, as panels are, they are 32 streams at a third of it
// (bench_integer8).
struct TileMemory {
  const uint8_t* next = nullptr;
  int64_t bytes = 0, fetched = 0, step = 0;  // of the next tile; a step for each group

  void advance() {
    const int64_t count = std::min(step, bytes - fetched);
    if (count <= 0) return;
    fetch(next + fetched, count);
    fetched += count;
  }
};

// Where the rows of `tile` begin, and how many bytes they take.
TileMemory memory_of(const WeightView& w, int64_t part, int64_t tile, int64_t groups) {
  const int64_t row = row_bytes(w.dtype(), w.columns()), first = tile * kTileColumns;
  const int64_t rows = std::clamp<int64_t>(w.rows() - first, 0, kTileColumns);
  return {.next = reinterpret_cast<const uint8_t*>(w.part(part)) + first * row,
          .bytes = rows * row,
          .step = divide_up(rows * row, groups)};
}

// Asks for the rows of x that the block after this one reads.
void fetch_rows(const Run& run, int64_t g, int64_t first, int64_t most) {
  for (int64_t i = first; i < std::min(first + most, run.count()); ++i) {
    const int8_t* const at = run.values_at(g, i);
    for (int64_t line = 0; line < kPanelElements; line += 64) __builtin_prefetch(at + line, 0, 3);
  }
}

void run_tile(const Run& run, int64_t tile) {
  const Task& task = run.task;
  const WeightView& w = task.job->product->w;
  const int64_t groups = run.call.x.groups, bytes = row_bytes(w.dtype(), kPanelElements);
  const int64_t step = rows_of_block(run);
  std::memset(run.room.results, 0, static_cast<size_t>(run.count() * kTileColumns) * sizeof(float));
  PanelRows rows[kTilePanels];
  for (int p = 0; p < kTilePanels; ++p) rows[p] = stored_rows(w, task.part, tile * kTilePanels + p);
  RowLists lists;
  TileMemory ahead = memory_of(w, task.part, tile + 1, groups * divide_up(run.count(), step));
  if (tile + 1 == task.tile_end) ahead.bytes = 0;
  for (int64_t g = 0; g < groups; ++g) {
    const int elements =
        static_cast<int>(std::min<int64_t>(kPanelElements, w.columns() - g * kPanelElements));
    for (int p = 0; p < kTilePanels; ++p) {
      run.body.unpack(w.dtype(), rows[p], elements, run.room.panels[p]);
      for (const uint8_t*& at : rows[p].at) at += bytes;
    }
    for (int64_t r = 0; r < run.count(); r += step) {
      ahead.advance();
      if (r + step < run.count())
        fetch_rows(run, g, r + step, step);
      else if (g + 1 < groups)
        fetch_rows(run, g + 1, 0, step);
      run.body.multiply(*task.job->format, run.room.panels, elements,
                        row_block(run, g, r, step, lists));
    }
  }
}

void store_tile(const Task& task, int64_t tile, const float* results) {
  const TensorView& y = task.job->product->y;
  const int64_t n = y.dim(1), first = tile * kTileColumns;
  const auto bytes =
      static_cast<size_t>(std::min<int64_t>(kTileColumns, n - first)) * sizeof(float);
  for (int64_t r = task.row_begin; r < task.row_end; ++r)
    std::memcpy(y.f32() + r * n + first, results + (r - task.row_begin) * kTileColumns, bytes);
}

// Whether stored rows are read as they lie, not through panels.
bool uses_few(const Call& call, const Task& task) {
  const WeightView& w = task.job->product->w;
  return w.columns() % kPanelElements == 0 &&
         task.row_end - task.row_begin <= call.body.few_rows(w.dtype());
}

// Where the 16 stored rows after `panel` begin; those of the panel itself (which are in a cache)
// where the task or the weight ends.
const uint8_t* after_panel(const WeightView& w, const Task& task, int64_t panel) {
  const bool last =
      panel + 1 >= std::min(task.tile_end * kTilePanels, divide_up(w.rows(), kPanelColumns));
  return stored_rows(w, task.part, last ? panel : panel + 1).at[0];
}

// A tile for few rows; kFewRows at a time, after the first of which the stored rows are in a cache.
void run_few(const Call& call, const Task& task, int64_t tile, void* room, float* results) {
  const WeightView& w = task.job->product->w;
  FewTile few{.columns = w.columns(), .x = &call.x, .room = room};
  for (int p = 0; p < kTilePanels; ++p) {
    few.rows = stored_rows(w, task.part, tile * kTilePanels + p);
    few.next = after_panel(w, task, tile * kTilePanels + p);
    for (int64_t first = task.row_begin; first < task.row_end; first += kFewRows) {
      few.count = static_cast<int>(std::min<int64_t>(kFewRows, task.row_end - first));
      for (int i = 0; i < few.count; ++i) {
        few.x_row[i] = call.row_of(first + i);
        few.y[i] = results + (first - task.row_begin + i) * kTileColumns + p * kPanelColumns;
      }
      call.body.few(w.dtype(), few);
    }
  }
}

// A worker's scratch, cut into what a task needs; `few` rows have a room of their own in place of
// the panels.
Room room_for(const Call& call, const Integer8Body& body, const Task& task, bool few, int worker) {
  const int64_t count = task.row_end - task.row_begin;
  const int64_t columns = task.job->product->w.columns();
  const size_t panels = kTilePanels * sizeof(Panel);
  const size_t first = few ? few_room_bytes(columns) : panels;
  const auto results = static_cast<size_t>(count * kTileColumns) * sizeof(float);
  const bool gathers = !few && body.rows_together && call.take != nullptr;
  const auto gathered = static_cast<size_t>(call.x.groups * readable_rows(count) * kPanelElements);
  auto* const at =
      static_cast<char*>(call.stream.scratch(worker, first + results + (gathers ? gathered : 0)));
  return {reinterpret_cast<Panel*>(at), reinterpret_cast<float*>(at + first),
          gathers ? reinterpret_cast<int8_t*>(at + first + results) : nullptr};
}

void run_task(const Call& call, const Task& task, int worker) {
  const WeightView& w = task.job->product->w;
  const bool few = uses_few(call, task);
  const Integer8Body& body =
      task.row_end - task.row_begin < call.body.rows_min ? integer8_vnni() : call.body;
  const Run run{call, body, task, room_for(call, body, task, few, worker)};
  std::optional<AmxSession> session;
  if (few) {
    const TileMemory first = memory_of(w, task.part, task.tile_begin, call.x.groups);
    fetch(first.next, first.bytes / kTilePanels);
  } else {
    if (run.room.gathered != nullptr) gather(run);
    if (body.tile_config != nullptr) session.emplace(body.tile_config(*task.job->format));
    // Nobody has fetched the first tile ahead.
    const TileMemory first = memory_of(w, task.part, task.tile_begin, call.x.groups);
    fetch(first.next, first.bytes);
  }
  for (int64_t tile = task.tile_begin; tile < task.tile_end; ++tile) {
    if (few)
      run_few(call, task, tile, run.room.panels, run.room.results);
    else
      run_tile(run, tile);
    store_tile(task, tile, run.room.results);
  }
}

// ---- the cut

int64_t chunks_of(const Call& call, int64_t part) {
  const auto e = static_cast<size_t>(part);
  return divide_up(call.offsets[e + 1] - call.offsets[e], kRowsOfTask);
}

int64_t chunks(const Call& call) {
  int64_t total = 0;
  for (int64_t e = 0; e + 1 < std::ssize(call.offsets); ++e) total += chunks_of(call, e);
  return total;
}

// Task `index` of a job: chunks of rows outside, strips of columns inside.
Task task_of(const Call& call, const Job& job, int64_t index) {
  const int64_t strips = job.strips(), strip = index % strips;
  int64_t chunk = index / strips, part = 0;
  while (chunk >= chunks_of(call, part)) chunk -= chunks_of(call, part++);
  const auto e = static_cast<size_t>(part);
  const int64_t begin = call.offsets[e] + chunk * kRowsOfTask;
  const int64_t tiles = divide_up(job.product->w.rows(), kTileColumns);
  return {&job,
          part,
          begin,
          std::min(begin + kRowsOfTask, call.offsets[e + 1]),
          strip * job.tiles_of_strip,
          std::min(tiles, (strip + 1) * job.tiles_of_strip)};
}

int64_t tasks(const Call& call, std::span<const Job> jobs) {
  int64_t strips = 0;
  for (const Job& job : jobs) strips += job.strips();
  return chunks(call) * strips;
}

// Tasks of many tiles, as long as there are enough that the last one is short beside all.
void cut_strips(const Call& call, std::span<Job> jobs) {
  const int64_t wanted =
      tasks(call, jobs) / (kTasksPerThread * call.stream.threads().loop_threads());
  for (Job& job : jobs) job.tiles_of_strip = std::clamp<int64_t>(wanted, 1, kTilesOfTask);
}

void run_jobs(const Call& call, std::span<const Job> jobs) {
  const int64_t row_chunks = chunks(call);
  call.stream.threads().parallel_for(tasks(call, jobs), [&](int64_t index, int worker) {
    const Job* job = jobs.data();
    for (; index >= row_chunks * job->strips(); ++job) index -= row_chunks * job->strips();
    run_task(call, task_of(call, *job, index), worker);
  });
}

constexpr size_t kProductsMax = 8;

std::atomic<const Integer8Body*> g_chosen_body{nullptr};

}  // namespace

// Of 16 stored rows: for each block, a sum for each row of x and its scales; of types of 256 two.
size_t few_room_bytes(int64_t columns) {
  const int64_t words = std::max(few_room_stride(columns / 32) * (kFewRows + 1),
                                 few_room_stride(columns / kPanelElements) * (2 * kFewRows + 1));
  return std::max(static_cast<size_t>(kPanelColumns * words) * sizeof(int32_t), sizeof(Panel));
}

void set_integer8_body(const Integer8Body* body) {
  g_chosen_body.store(body, std::memory_order_release);
}

const Integer8Body& integer8_body() {
  if (const Integer8Body* chosen = g_chosen_body.load(std::memory_order_acquire)) return *chosen;
  if (isa() == Isa::kAmx) return integer8_amx();
  if (isa() >= Isa::kAvx512 && integer8_vnni_available()) return integer8_vnni();
  return isa() == Isa::kGeneric ? integer8_generic() : integer8_avx2();
}

void integer8(std::span<const Product> products, std::span<const int64_t> offsets,
              ConstTensorView take, ConstTensorView x, CpuStream& stream) {
  DURE_CHECK(products.size() <= kProductsMax, "{} products", products.size());
  for (const int block : {256, 32}) {
    Job jobs[kProductsMax];
    size_t count = 0;
    for (const Product& p : products) {
      const IntegerFormat* const format = integer_format(p.w.dtype());
      if (format->elements == block) jobs[count++] = {&p, format};
    }
    if (count == 0) continue;
    const Call call{integer8_body(), rounded(x, block, stream), offsets,
                    take ? take.i32() : nullptr, stream};
    cut_strips(call, {jobs, count});
    run_jobs(call, {jobs, count});
  }
}

}  // namespace dure::cpu
