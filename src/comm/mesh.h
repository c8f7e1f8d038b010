// comm/mesh.h: the ranks of a run as a table of axes, and the groups in which this rank works.
//
// Rank r = (p x data + d) x expert + e: ranks that exchange experts' rows are neighbours, stages of
// a pipeline are furthest apart. Groups of one axis meet on one channel; a group of all ranks is
// the world itself, one of this rank alone costs nothing. What travels on threads beside the work
// goes through groups of the same ranks with channels of their own. Not here: the table's file form
// and its check against the launcher (ranks.h), what each axis shares (docs/ranks.md, train/).
#pragma once

#include <array>
#include <optional>

#include "comm/group.h"

namespace dure {

struct MeshShape {
  int64_t data = 1, expert = 1, pipeline = 1;
  int64_t count() const { return data * expert * pipeline; }
  int64_t batch() const { return data * expert; }  // ranks that share a step's parts
};

struct MeshPlace {
  int64_t data = 0, expert = 0, pipeline = 0;
};

MeshPlace place_in(const MeshShape& shape, int64_t rank);
int64_t rank_at(const MeshShape& shape, const MeshPlace& place);

class Mesh {
 public:
  // One rank alone.
  static Mesh& alone();

  // `world`: all ranks in order, outlives it. Checked: as many as the table has.
  Mesh(Group& world, const MeshShape& shape);
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;

  const MeshShape& shape() const { return shape_; }
  const MeshPlace& place() const { return place_; }  // of this rank

  Group& world() { return *world_; }
  // Same pipeline stage: they share a step's parts, in this order, and what all of them have.
  Group& batch() { return *batch_; }
  // Same stage and data place: they own the experts together, and exchange rows.
  Group& expert() { return *expert_; }
  // Same stage and expert place: they hold the same experts.
  Group& data() { return *data_; }
  // Same data and expert place: a stage each, in order.
  Group& pipeline() { return *pipeline_; }

  // Those of batch() and of data() again, for sums of gradients.
  Group& batch_sums() { return *batch_sums_; }
  Group& data_sums() { return *data_sums_; }
  // The world again, for files that are written beside steps; in none of what follows.
  Group& files() { return *files_; }

  // Of all groups together. No sum is under way.
  Traffic traffic() const;
  // What the program is at, in all groups' messages. The same.
  void set_place(const std::string& place);

 private:
  static constexpr int kAxes = 4;
  Group* group_of(std::vector<int> members, int axis);
  Group* beside(const Group& group, int number, std::optional<Group>& out);

  MeshShape shape_;
  MeshPlace place_;
  Group* world_;
  std::array<std::optional<Group>, kAxes + 2> own_;  // those that are not the world
  std::optional<Group> own_files_;
  Group *batch_, *expert_, *data_, *pipeline_, *batch_sums_, *data_sums_, *files_;
};

}  // namespace dure
