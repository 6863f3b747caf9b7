#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

static long count = 0;

NB_MODULE(by_nanobind, module)
{
    module.def("bump", [] { return ++count; });
    module.def("apply", [](nb::callable f, nb::object x) { return f(x); });
    module.def("fail", [] { throw nb::value_error("refused"); });
    module.def("total", [](nb::ndarray<const double, nb::ndim<1>, nb::device::cpu> array) {
        auto items = array.view();
        double sum = 0;
        for (size_t i = 0; i < items.shape(0); i++) {
            sum += items(i);
        }
        return sum;
    });
}
