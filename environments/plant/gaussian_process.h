// environments/plant/gaussian_process.h: a Gaussian process over points of the unit cube, and the
// improvement that it expects.
//
// Matern 5/2 kernel with one length scale, chosen from a few by the marginal likelihood. Source:
// C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning (MIT 2006), algorithm
// 2.1; expected improvement: D. R. Jones, M. Schonlau, W. J. Welch, J. Global Optimization 13
// (1998) 455. Not here: which points are tried (search.h).
#pragma once

#include <vector>

#include "plant/unit.h"

namespace dure::plant {

class GaussianProcess {
 public:
  struct Prediction {
    double mean = 0;
    double deviation = 0;  // of the noise-free value
  };
  // `noise`: standard deviation of a value, in the values' unit. At least one point.
  GaussianProcess(const std::vector<Point>& points, const std::vector<double>& values,
                  double noise);
  Prediction at(const Point& point) const;
  double length() const { return length_; }

 private:
  // Factorises for a length scale; gives the log marginal likelihood.
  double fit(double length);

  std::vector<Point> points_;
  std::vector<double> targets_;  // centred, divided by scale_
  std::vector<double> factor_;   // [n, n] lower Cholesky factor
  std::vector<double> weights_;  // [n]
  double mean_ = 0;
  double scale_ = 1;
  double noise_ = 0;  // relative to scale_
  double length_ = 0;
};

// Of a value to be maximised, above `best`.
double expected_improvement(const GaussianProcess::Prediction& prediction, double best);

}  // namespace dure::plant
