"""Every function of Python and the C library that takes a function, and what owngil does about it.

A private copy is unloaded when its worker ends. What keeps one of its functions for longer must pin it.
"""

__all__ = ["HANDLED_ELSEWHERE", "HARMLESS", "NOT_COVERED", "PINNING", "READ_AT_THE_END"]

#: The shim pins the copy: src/core/loader/shim/pinning.h has these names, and more that keep memory.
PINNING = """
    PyFile_SetOpenCodeHook PyMem_SetAllocator PyObject_SetArenaAllocator PyRefTracer_SetTracer PySys_AddAuditHook
    Py_AddPendingCall
    aio_fsync aio_fsync64 aio_read aio_read64 aio_write aio_write64 fopencookie getaddrinfo_a lio_listio lio_listio64
    mq_notify on_exit register_printf_function register_printf_specifier register_printf_type timer_create
"""

#: owngil reads these when the worker has ended, and pins the copy that they lead to: src/core/loader/copies.c. The
#: functions among them set signal handlers, of which there is a table to read.
READ_AT_THE_END = """
    PyImport_FrozenModules PyImport_Inittab PyOS_InputHook PyOS_ReadlineFunctionPointer PyOS_setsig
    __sysv_signal sigaction signal sigset ssignal sysv_signal
    argp_program_version_hook error_print_progname obstack_alloc_failed_handler
"""

#: The shim has functions of its own for these: src/core/loader/shim/shim.c. Functions for the end of the process, for
#: forks and for quick_exit() leave the C library's lists with the copy, if they come with the handle of their library.
HANDLED_ELSEWHERE = """
    PyThread_start_new_thread Py_AtExit
    pthread_create pthread_key_create thrd_create tss_create
    at_quick_exit atexit pthread_atfork
"""

HARMLESS = {
    "called before the function returns": """
        PyImport_CreateModuleFromInitfunc PyObject_VisitManagedDict PyUnstable_GC_VisitObjects
        _PyDict_DelItemIf _PyObject_VisitManagedDict _PyTrash_cond _Py_string_to_number_with_underscores
        __argp_error __argp_failure __argp_help __argp_input __argp_parse __argp_state_help __argp_usage _argp_input
        argp_error argp_failure argp_help argp_parse argp_state_help argp_usage
        bsearch call_once dl_iterate_phdr ftw ftw64 glob glob64 globfree globfree64 lfind lsearch makecontext
        nftw nftw64 pthread_once qsort qsort_r scandir scandir64 scandirat scandirat64
        tdelete tdestroy tfind tsearch twalk twalk_r
    """,
    "kept by an interpreter, and gone with it": """
        PyCode_AddWatcher PyContext_AddWatcher PyDict_AddWatcher PyFunction_AddWatcher PyType_AddWatcher
        PyEval_SetProfile PyEval_SetProfileAllThreads PyEval_SetTrace PyEval_SetTraceAllThreads
        _PyEval_SetProfile _PyEval_SetTrace _PyInterpreterState_SetEvalFrameFunc
        PyUnstable_AtExit _Py_AtExit PyUnstable_Eval_RequestCodeExtraIndex
    """,
    "kept by an object of the worker or of the copy": """
        PyCFunction_New PyCFunction_NewEx PyCMethod_New PyCapsule_New PyCapsule_SetDestructor
        PyDescr_NewClassMethod PyDescr_NewGetSet PyDescr_NewMethod PyDescr_NewWrapper
        PyFunction_SetVectorcall PyModule_AddFunctions PyModule_FromSlotsAndSpec PyType_FromSlots
        _obstack_begin _obstack_begin_1 _obstack_memory_used _obstack_newchunk obstack_free
        obstack_printf obstack_vprintf
        fts64_children fts64_close fts64_open fts64_read fts64_set
        fts_children fts_close fts_open fts_read fts_set
        aio_cancel aio_cancel64 aio_error aio_error64 aio_return aio_return64 aio_suspend aio_suspend64
    """,
    "filled in by the function": "PyMem_GetAllocator PyObject_GetArenaAllocator",
    "refused while Python or the C library runs": """
        PyImport_AppendInittab PyImport_ExtendInittab PyInitConfig_AddModule mcheck mcheck_pedantic
    """,
}

#: docs/design.md says so. clone() makes threads that no library knows. The others are Python's own, in no API.
NOT_COVERED = """
    clone
    _PyCrossInterpreterData_Clear _PyCrossInterpreterData_Init _PyCrossInterpreterData_InitWithSize
    _PyCrossInterpreterData_NewObject _PyCrossInterpreterData_RegisterClass _PyCrossInterpreterData_Release
    _PyObject_GetCrossInterpreterData
"""
