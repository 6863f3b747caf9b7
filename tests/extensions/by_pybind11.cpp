#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

static long count = 0;

PYBIND11_MODULE(by_pybind11, module)
{
    module.def("bump", [] { return ++count; });
    module.def("apply", [](py::function f, py::object x) { return f(x); });
    module.def("fail", [] { throw py::value_error("refused"); });
    module.def("total", [](py::array_t<double> array) {
        auto items = array.unchecked<1>();
        double sum = 0;
        for (py::ssize_t i = 0; i < items.shape(0); i++) {
            sum += items(i);
        }
        return sum;
    });
}
