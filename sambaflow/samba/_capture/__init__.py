"""From a program's model to a PEF: conversion, the record of its operators, the request to the compiler."""
