// Lists the versions that stand beside this one: versions.js, written by the build, names them.
(function () {
  var place = document.getElementById("snc-versions");
  if (!place || !window.SNC_VERSIONS) return;
  var list = document.createElement("ul");
  window.SNC_VERSIONS.forEach(function (name) {
    var item = document.createElement("li");
    item.className = "toctree-l1";
    var link = document.createElement("a");
    link.className = "reference internal";
    link.href = place.dataset.root + "/" + name + "/index.html";
    link.textContent = name;
    item.appendChild(link);
    list.appendChild(item);
  });
  place.appendChild(list);
})();
